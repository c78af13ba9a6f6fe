# Functions that run, test and bench share. Sourced with `root` set to the repository.
# shellcheck shell=sh

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

logs=$root/.build/logs
mkdir -p "$logs"

[ -t 2 ] || say() { printf '==> %s\n' "$*" >&2; }

# What building needs. 1.52 before deb12u3 lets a peer abort the process (CVE-2026-27135).
build_packages="libnghttp2-dev>=1.52.0-1+deb12u3 libssl-dev libprotobuf-c-dev zlib1g-dev pkg-config
    openssl"
# What tests need besides: generators to compare the committed code with, and Python.
test_packages="protobuf-compiler protobuf-c-compiler libprotobuf-dev python3 python3-venv git
    util-linux nghttp2-client"
# What the interoperability cases need: the second stock implementation of gRPC.
interop_packages="g++ pkg-config libgrpc++-dev protobuf-compiler-grpc libprotobuf-dev
    nghttp2-server"
bench_packages="nghttp2-server util-linux gcc libc6-dev python3"
# What the gate of instructions needs besides.
instructions_packages="valgrind binutils"
# What the peers of ../shared/bench-peers are built of.
peer_packages="g++ protobuf-c-compiler protobuf-compiler protobuf-compiler-grpc libgrpc++-dev
    libprotobuf-dev golang-go golang-google-grpc-dev golang-goprotobuf-dev"

# need_packages NAME[>=VERSION]...: installs what is missing as root, else says how and stops.
need_packages() {
    missing=
    for package in "$@"; do
        name=${package%%>=*}
        # shellcheck disable=SC2016
        installed=$(dpkg-query -W -f '${db:Status-Status} ${Version}' "$name" 2>/dev/null || true)
        case $installed in
        "installed "*) ;;
        *) missing="$missing $name"; continue ;;
        esac
        if [ "$name" != "$package" ] &&
            ! dpkg --compare-versions "${installed#installed }" ge "${package#*>=}"; then
            missing="$missing $name"
        fi
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        printf 'Debian packages are missing. Run this line, then start again:\n\n' >&2
        printf '    sudo apt-get update && sudo apt-get install -y%s\n\n' "$missing" >&2
        exit 69
    fi
    say "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } \
        >"$logs/apt.log" 2>&1 ||
        { tail -5 "$logs/apt.log" >&2; die "apt-get could not install$missing"; }
    for package in "$@"; do
        [ "${package%%>=*}" != "$package" ] || continue
        # shellcheck disable=SC2016
        installed=$(dpkg-query -W -f '${Version}' "${package%%>=*}")
        dpkg --compare-versions "$installed" ge "${package#*>=}" ||
            die "${package%%>=*} is $installed, not ${package#*>=}: enable security updates"
    done
}

# need_swift: the toolchain that the code is written for.
need_swift() {
    command -v swift >/dev/null || die "swift is missing: install Swift 6.3.1 (swift.org/install)"
    said=$(swift --version 2>&1) || die "swift --version failed: $said"
    version=$(printf '%s' "$said" | sed -n 's/.*Swift version \([0-9.]*\).*/\1/p' | head -1)
    case $version in
    6.[3-9]* | 6.[1-9][0-9]* | [7-9].*) ;;
    *) die "swift is ${version:-unreadable}; needed is 6.3.1 or later (swift.org/install)" ;;
    esac
}

# need_venv: Deploy/.venv with exactly Deploy/requirements.txt.
need_venv() {
    venv=$root/Deploy/.venv
    if ! cmp -s "$root/Deploy/requirements.txt" "$venv/installed"; then
        say "preparing the Python tools in Deploy/.venv"
        rm -rf "$venv"
        python3 -m venv "$venv" || die "python3 cannot make a virtual environment"
        "$venv/bin/python" -m pip install -q --disable-pip-version-check \
            -r "$root/Deploy/requirements.txt" >&2 || die "pip could not install the Python tools"
        cp "$root/Deploy/requirements.txt" "$venv/installed"
    fi
}

# build_release: both programs, into .build/release.
build_release() {
    say "building release"
    {
        swift build --package-path "$root" -c release --product triaged &&
            swift build --package-path "$root" -c release --product triagectl
    } >"$logs/build.log" 2>&1 || {
        grep -E 'error|warning' "$logs/build.log" >&2 ||
            tail -20 "$logs/build.log" >&2
        die "the build failed"
    }
}

# await_line FILE PREFIX PID SECONDS: prints what follows PREFIX in FILE's first line, once it is
# there. Fails when process PID ends before, or after SECONDS.
await_line() {
    tries=$(($4 * 50))
    while [ "$tries" -gt 0 ]; do
        line=$(head -1 "$1")
        case $line in
        "$2"*) printf '%s\n' "${line#"$2"}"; return 0 ;;
        esac
        kill -0 "$3" 2>/dev/null || return 1
        sleep 0.02
        tries=$((tries - 1))
    done
    return 1
}
