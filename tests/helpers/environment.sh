# For the scripts: where the cache is, which Python serves, how an environment is made. Needs $here, the checkout.

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# The cache of what is slow to make: environments, wheels, images. Other users must be able to read root's.
cache_directory() {
    if [ -n "${ROOTLESS_TEST_CACHE:-}" ]; then
        echo "$ROOTLESS_TEST_CACHE"
    elif [ "$(id -u)" = 0 ]; then
        echo /var/cache/rootless-tests
    else
        echo "${XDG_CACHE_HOME:-$HOME/.cache}/rootless-tests"
    fi
}

# A Python of at least 3.11; root's environments are for other users too, who may not reach a Python in root's home.
find_python() {
    if [ "$(id -u)" = 0 ]; then
        candidates="/usr/bin/python3 /usr/local/bin/python3"
    else
        candidates="python3 /usr/bin/python3 /usr/local/bin/python3"
    fi
    for candidate in $candidates; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed (looked for: $candidates)"
}

# requirements [EXTRA...]: what the project depends on, one requirement a line.
requirements() {
    "$python" - "$here/pyproject.toml" "$@" <<'END'
import sys, tomllib

with open(sys.argv[1], "rb") as stream:
    project = tomllib.load(stream)["project"]
lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in sys.argv[2:])]
print("\n".join(requirement for part in lists for requirement in part))
END
}

# make_environment DIRECTORY [EXTRA...]: a virtual environment with the dependencies, remade when they change.
# The wheels stay in $cache/wheels, so that later installations need no package index.
make_environment() {
    environment=$1
    shift
    wanted=$({ "$python" --version; requirements "$@"; } | cksum)
    if [ "$(cat "$environment/wanted" 2>/dev/null)" != "$wanted" ]; then
        echo "making $environment"
        rm -rf "$environment"
        "$python" -m venv "$environment"
        requirements "$@" >"$environment/requirements"
        # An older pip writes console scripts that import re: 7 of the 45 ms of a container's start.
        printf '%s\n' 'pip>=25.3' 'setuptools>=77' wheel >>"$environment/requirements"
        "$environment/bin/pip" wheel -qq --wheel-dir "$cache/wheels" -r "$environment/requirements"
        "$environment/bin/pip" install -qq --no-index --find-links "$cache/wheels" -r "$environment/requirements"
        echo "$wanted" >"$environment/wanted"
    fi
}

# install_project ENVIRONMENT TREE: copies the checkout to TREE, which every user can read and nobody changes while
# it is used, and installs the project from there.
install_project() {
    rm -rf "$2"
    mkdir -p "$2"
    tar -C "$here" --exclude=./.git --exclude=__pycache__ --exclude='./.*_cache' --exclude=./.venv --exclude=./build \
        --exclude='*.egg-info' --mode=a+rX -cf - . | tar -C "$2" --no-same-owner -xf -
    "$1/bin/pip" install -qq --no-index --find-links "$cache/wheels" --no-deps --force-reinstall "$2"
    rm -rf "$2/build"
}
