"""Files about registries hold anything: they are read, or refused by a RegistryError."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from layers.errors import InvalidReference
from layers.reference import Reference
from rootless.errors import ImageError, RegistryError
from rootless.registry.registry_files import RegistriesFile, combine

WORDS = st.sampled_from(
    ["a.org", "a.org/x", "*.a.org", "b.org:5000/y", "docker.io", "box", "", "all", "digest-only", "[::1]:1/z"]
)
SCALARS = st.one_of(WORDS, st.booleans(), st.integers(), st.text(max_size=8))
MIRRORS = st.dictionaries(st.sampled_from(["location", "insecure", "pull-from-mirror", "x"]), SCALARS)
TABLES = st.dictionaries(
    st.sampled_from(["prefix", "location", "insecure", "blocked", "mirror", "mirror-by-digest-only"]),
    st.one_of(SCALARS, st.lists(st.one_of(MIRRORS, SCALARS), max_size=2)),
)
FILES = st.dictionaries(
    st.sampled_from(["registry", "aliases", "unqualified-search-registries", "podman-short-names"]),
    st.one_of(
        SCALARS,
        st.lists(st.one_of(TABLES, SCALARS), max_size=3),
        st.dictionaries(WORDS, SCALARS, max_size=2),
    ),
)


@given(st.lists(FILES, max_size=2))
def test_any_file_gives_registries_whose_places_are_names_or_is_refused(
    contents: list[dict[str, object]],
) -> None:
    try:
        found = combine([RegistriesFile(f"/f{n}", data, is_ours=True) for n, data in enumerate(contents)])
    except RegistryError:
        return
    for name in ("debian", "a.org/x:1", "b.a.org/x", "b.org:5000/y/z"):
        with suppress(InvalidReference, ImageError, RegistryError):  # blocked, or the name became too long
            for reference in found.expand(name):
                for place in found.places(reference):
                    assert Reference.parse(f"{place.repository}:x").domain == place.domain
