"""What the `manifest` commands share: how to reach registries, and what a list says of its members."""

from __future__ import annotations

import os

from rootless.cli.args import BOOL, LIST, Option, bad_value
from rootless.cli.login import TLS_VERIFY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layers.manifest_list import Traits
    from rootless.cli.args import Parsed
    from rootless.registry.settings import RegistrySettings

REACH = (
    TLS_VERIFY,
    Option("--insecure", kind=BOOL, help="Docker's name of --tls-verify=false"),
)
TRAITS = (
    Option("--annotation", kind=LIST, metavar="key=value", help="Set an annotation of the member"),
    Option("--arch", help="Set the architecture of the member"),
    Option("--os", help="Set the operating system of the member"),
    Option("--os-features", kind=LIST, help="Set features of the operating system"),
    Option("--os-version", help="Set the version of the operating system"),
    Option("--variant", help="Set the variant of the architecture"),
)


def settings_of(parsed: Parsed) -> RegistrySettings:
    """Return how registries are to be reached."""
    from rootless.interface.images import pull_options

    tls_verify = False if parsed.flag("insecure") else parsed.said("tls-verify")
    return pull_options(os.environ, platform="", tls_verify=tls_verify).settings


def traits_of(parsed: Parsed) -> Traits:
    """Return what the options say of a member.

    Raises:
        UsageError: an annotation is not of the form key=value.
    """
    from layers.manifest_list import Traits

    annotations = {}
    for text in parsed.texts("annotation"):
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise bad_value("--annotation", text, "it is not of the form key=value")
        annotations[key] = value
    return Traits(
        os=parsed.text("os"),
        architecture=parsed.text("arch"),
        variant=parsed.text("variant"),
        os_version=parsed.text("os-version"),
        os_features=[word for text in parsed.texts("os-features") for word in text.split(",") if word],
        annotations=annotations,
    )
