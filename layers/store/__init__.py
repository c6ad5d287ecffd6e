"""Where images are kept: `directory` on disk, `memory` for tests, one interface (`base.ImageStore`)."""
