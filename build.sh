#!/usr/bin/env bash
# Builds, serves, tests and measures clip-wasm. Installs missing tools, or says in one line what to install.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
  cat <<'TEXT'
usage: ./build.sh                build the page into www/
       ./build.sh serve [PORT]   build, then serve the page on localhost (8000)
       ./build.sh package        build, then make pkg/, the package for npm
       ./build.sh single         build, then make clip-wasm.html, the page in one file
       ./build.sh test           run every test there is
       ./build.sh test quick     run those that take no browser and no model of full size: while working
       ./build.sh fuzz [TARGET] [SECONDS]
                                 feed the parsers with what a fuzzer thinks of: one target, or all of them (600)
       ./build.sh soak [INPUTS]  embed many inputs in one page, and on a GPU, and watch the memory (20000)
       ./build.sh reliability    write docs/reliability.md of what the last test showed
       ./build.sh bench          measure it beside its peers; writes BENCHMARKS.md
       ./build.sh bench kernels  count the product's instructions for processors that are not at hand
       ./build.sh verify MODEL   compare a ViT-B/32 GGUF with OpenAI's published cosines
       ./build.sh screenshots    take the pictures that the README shows, of the page as built
       ./build.sh icons          draw the page's icons anew, of www/icon.svg
       ./build.sh demo           draw, train and export the demo model anew (an hour and a half)
TEXT
}

WASM=wasm32-unknown-unknown
PHOTOS=www/check
FUZZ_TARGETS=(gguf model safetensors image tokenizer vocabulary siglip)
export CLIP_TEST_DATA="${CLIP_TEST_DATA:-$PWD/target/test-data}"

say() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS"; }
fail() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || fail "$1 is missing: $2"; }

# The version of a crate in Cargo.lock.
locked() { sed -n "/^name = \"$1\"\$/{n;s/version = \"\(.*\)\"/\1/p;q}" Cargo.lock; }

# Installs Debian packages, if this user may.
install_debian() {
  command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
  say "installing $* from Debian"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

need_rust() {
  need cargo "install Rust from https://rustup.rs"
  if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$WASM" ]; then
    need rustup "it adds Rust's $WASM target: install Rust from https://rustup.rs"
    rustup target add $WASM
  fi
}

# Installs a program from the crates registry, with the dependencies that its authors tested. A registry
# mirror may lack some of those versions; then newer ones are used.
install_crate() { # CRATE [OPTION...]
  local refusal
  refusal=$(cargo install -q --locked "$@" 2>&1) || cargo install -q "$@" || {
    printf '%s\n' "$refusal" >&2
    return 1
  }
}

# Compiled without optimisation, in half the time: most of these tools only start other programs, or read a few hundred
# manifests. For wasm-bindgen, each module takes two seconds longer.
install_unoptimised() { CARGO_PROFILE_DEV_DEBUG=false install_crate --debug "$@"; }

need_wasm_bindgen() {
  local version
  version=$(locked wasm-bindgen)
  if [ "$(wasm-bindgen --version 2>/dev/null)" != "wasm-bindgen $version" ]; then
    say "installing wasm-bindgen $version, which must be the version in Cargo.lock (2 minutes)"
    install_unoptimised wasm-bindgen-cli --version "$version"
  fi
}

need_wasm_pack() {
  command -v wasm-pack >/dev/null && return
  say "installing wasm-pack"
  install_unoptimised wasm-pack
}

need_cargo_deny() {
  command -v cargo-deny >/dev/null && return
  say "installing cargo-deny"
  install_unoptimised cargo-deny --version 0.20.2
}

# The sanitizer and its coverage need unstable compiler flags, but any stable compiler accepts them with
# RUSTC_BOOTSTRAP.
need_cargo_fuzz() {
  command -v cargo-fuzz >/dev/null && return
  say "installing cargo-fuzz"
  install_unoptimised cargo-fuzz
}

need_node_packages() {
  need npm "install Node.js 20 or newer with npm"
  install_packages .
}

# The bundlers and runtimes that the examples are built and run with: 700 MB.
need_example_packages() { install_packages examples; }

install_packages() { # FOLDER
  local lock=$1/package-lock.json installed=$1/node_modules/.package-lock.json
  if [ ! -e "$installed" ] || [ "$lock" -nt "$installed" ]; then
    say "installing the packages of $lock"
    npm ci --no-audit --no-fund --prefix "$1"
    touch "$installed"
  fi
}

need_browser() {
  CHROMIUM=$(command -v chromium || command -v google-chrome || command -v chromium-browser || true)
  CHROMEDRIVER=$(command -v chromedriver || true)
  if [ -z "$CHROMIUM" ] || [ -z "$CHROMEDRIVER" ]; then
    install_debian chromium chromium-driver ||
      fail "a browser and its driver are missing: apt-get install chromium chromium-driver"
    CHROMIUM=$(command -v chromium)
    CHROMEDRIVER=$(command -v chromedriver)
  fi
  export CHROMIUM CHROMEDRIVER
}

# Firefox with its driver, and WebKit with its driver and a virtual display. If they cannot be installed,
# these functions fail and the tests run without that browser.
need_firefox() {
  local version=0.37.1
  FIREFOX=$(command -v firefox-esr || command -v firefox || true)
  if [ -z "$FIREFOX" ]; then
    install_debian firefox-esr || return 1
    FIREFOX=$(command -v firefox-esr)
  fi
  if [ "$(geckodriver --version 2>/dev/null | awk 'NR == 1 { print $2 }')" != "$version" ]; then
    say "installing geckodriver $version"
    install_unoptimised geckodriver --version $version || return 1
  fi
  GECKODRIVER=$(command -v geckodriver)
  export FIREFOX GECKODRIVER
}

need_webkit() {
  if ! command -v WebKitWebDriver >/dev/null || ! command -v Xvfb >/dev/null; then
    install_debian webkit2gtk-driver xvfb || return 1
  fi
  WEBKIT_DRIVER=$(command -v WebKitWebDriver)
  export WEBKIT_DRIVER
}

# What runs programs for 64-bit Arm.
need_arm_emulator() {
  if ! command -v qemu-aarch64-static >/dev/null || [ ! -e /usr/aarch64-linux-gnu/lib/libstdc++.so.6 ]; then
    install_debian qemu-user-static libc6-arm64-cross libstdc++6-arm64-cross libatomic1-arm64-cross || return 1
  fi
}

# Vulkan on the processor: what the towers on a GPU are tested on where there is no GPU.
need_vulkan() {
  if ! compgen -G "/usr/share/vulkan/icd.d/*.json" >/dev/null; then
    install_debian mesa-vulkan-drivers || return 1
  fi
}

# Ray, for the example that embeds many images with it: 600 MB.
need_ray() {
  if [ ! -e target/ray/installed ] || [ examples/ray/requirements.txt -nt target/ray/installed ]; then
    say "installing Ray into target/ray"
    python3 -m venv target/ray
    target/ray/bin/pip install -q --disable-pip-version-check -r examples/ray/requirements.txt
    touch target/ray/installed
  fi
}

need_python() { need python3 "apt-get install python3 python3-pip"; }

# Rust with rust-src: the standard library is recompiled for threads, with unstable compiler flags, so the
# version is fixed. Sets THREADS_CARGO.
need_rust_for_threads() {
  local version=1.95
  if rustc --version | grep -q "^rustc $version\."; then
    THREADS_CARGO=(cargo)
    [ -d "$(rustc --print sysroot)/lib/rustlib/src/rust/library" ] || rustup component add rust-src
  else
    THREADS_CARGO=(rustup run $version cargo)
    rustup run $version rustc --version >/dev/null 2>&1 ||
      rustup toolchain install $version --profile minimal --component rust-src --target $WASM
  fi
}

# The page has a module that reads pictures, and one with the towers. The towers are built in four variants, with and
# without relaxed SIMD and threads; www/lib/engine/builds.js chooses one. RUSTFLAGS would replace the flags in
# .cargo/config.toml, including SIMD.
build_module() { # NAME COMMAND...
  compile_module "$@"
  finish_module "$1"
}

# Each module has a target folder of its own: cargo gives them all the same file name, so in a shared folder they would
# overwrite each other and be recompiled every time.
compile_module() { # NAME COMMAND...
  local folder=target/modules/$1
  shift
  env -u RUSTFLAGS CARGO_TARGET_DIR="$folder" "$@"
}

# Starts a module's target folder as a copy of another's, whose dependencies are compiled already.
copy_dependencies() { # FROM NAME
  local folder=target/modules/$2
  if [ -d "$folder" ]; then return; fi
  rm -rf "$folder.part"
  cp -a "target/modules/$1" "$folder.part"
  mv "$folder.part" "$folder"
}

finish_module() { # NAME [unoptimised]
  local name=$1 module=target/modules/$1/$WASM/page/clip_wasm.wasm made=target/modules/$1/bindgen into=www/pkg/$1 options=()
  if [ -e "$into/clip_wasm_bg.wasm" ] && [ "$into/clip_wasm_bg.wasm" -nt "$module" ]; then return; fi
  rm -rf "$made" "$into.part"
  # An input can break its instance of the module. Where there are threads, the worker is replaced with its instance;
  # otherwise a new instance may be needed in the same context.
  case $name in *-threads) ;; *) options=(--experimental-reset-state-function) ;; esac
  wasm-bindgen --target web "${options[@]}" --out-dir "$made" "$module"
  if [ "${2:-}" != unoptimised ]; then
    # -O3 takes three times as long. After LLVM it makes nothing faster, and the towers larger when compressed.
    node_modules/.bin/wasm-opt -O1 "$made/clip_wasm_bg.wasm" -o "$made/clip_wasm_bg.wasm"
  fi
  mkdir -p "$into.part"
  cp "$made"/clip_wasm{.js,.d.ts,_bg.wasm} "$into.part/"
  # Looks out of date, so that the next call optimises it.
  if [ "${2:-}" = unoptimised ]; then touch -d 2000-01-01 "$into.part/clip_wasm_bg.wasm"; fi
  # In one step, because the page may be served meanwhile.
  rm -rf "$into"
  mv "$into.part" "$into"
}

# Cargo's arguments for a module.
module_command() { # FEATURE
  printf '%s\n' rustc --profile page --lib --crate-type cdylib --target $WASM --no-default-features --features "$1"
}

# The towers with relaxed SIMD.
build_relaxed() { # NAME COMMAND...
  # The flag applies to the whole crate: code without a target feature cannot be inlined into a function that has it.
  build_module "$@" --features relaxed-simd -- -C target-feature=+relaxed-simd
}

# The modules that run in every browser.
build_first() {
  need_rust
  need_wasm_bindgen
  need_node_packages
  node packaging/workers.mjs
  say "building the modules that every browser runs, in www/pkg (4 minutes the first time)"
  mapfile -t pictures < <(module_command pictures)
  mapfile -t towers < <(module_command towers)
  compile_module simd128 cargo "${towers[@]}"
  copy_dependencies simd128 pictures
  compile_module pictures cargo "${pictures[@]}"
  # A page that works comes first; its modules are optimised behind it.
  finish_module simd128 unoptimised
  finish_module pictures unoptimised
}

# The variants that are faster in browsers that can run them.
build_faster() {
  say "building the modules with relaxed SIMD, threads and WebGPU, and optimising the others (8 minutes the first time)"
  local threads=
  if need_rust_for_threads; then
    local cargo=(env RUSTC_BOOTSTRAP=1 "${THREADS_CARGO[@]}" --config .cargo/threads.toml -Zbuild-std=panic_abort,std)
    # In parallel with the others: the slowest step, whole-module optimisation, uses only one core.
    {
      build_module simd128-threads "${cargo[@]}" "${towers[@]}"
      copy_dependencies simd128-threads relaxed-threads
      build_relaxed relaxed-threads "${cargo[@]}" "${towers[@]}"
    } &
    threads=$!
    trap 'kill 0' INT # background jobs do not receive Ctrl-C
  else
    rm -rf www/pkg/*-threads
    say "WITHOUT THREADS: Rust 1.95 with its rust-src is not to be had, so the page runs on one thread"
  fi
  finish_module simd128
  finish_module pictures
  copy_dependencies simd128 relaxed
  build_relaxed relaxed cargo "${towers[@]}"
  mapfile -t webgpu < <(module_command towers,gpu)
  copy_dependencies simd128 webgpu
  build_module webgpu cargo "${webgpu[@]}"
  [ -z "$threads" ] || wait "$threads" || fail "the modules for several threads do not build"
  trap - INT
}

build() {
  build_first
  build_faster
  wc -c www/pkg/*/clip_wasm_bg.wasm
  say "www/ is the site"
}

package() {
  say "making pkg/"
  [ -d www/pkg/relaxed-threads ] || fail "the package has the builds with threads too, and this Rust does not build them"
  node packaging/npm.mjs
  (cd pkg && npm pack --dry-run)
}

single() {
  say "making clip-wasm.html"
  node packaging/single.mjs
}

# Runs each target for that many seconds, two at a time. Failing inputs stay in fuzz/artifacts.
fuzz() { # SECONDS TARGET...
  need_rust
  need_cargo_fuzz
  need node "install Node.js 20 or newer"
  need_python
  python3 tests/support/fetch.py "$CLIP_TEST_DATA"
  say "building the fuzz targets (many minutes the first time)"
  env -u RUSTFLAGS RUSTC_BOOTSTRAP=1 cargo fuzz build --codegen-units 16 --target-dir target/fuzz
  rm -rf target/fuzz/seeds
  cargo run -q --release --features cli --example fuzz_seeds -- "$CLIP_TEST_DATA" target/fuzz/seeds
  local host
  host=$(rustc -vV | sed -n 's/^host: //p')
  say "fuzzing ${*:2} for $1 s each"
  node fuzz/run.mjs "target/fuzz/$host/release" "$@"
}

# A long life of the encoder in a browser, and on a GPU. Each test of everything has 1000 inputs, and 2000.
soak() { # INPUTS
  need_python
  need_browser
  need_vulkan || say "WITHOUT VULKAN: its driver is not to be had here, and what runs on a GPU is skipped"
  build
  NATIVE_BUILD=(--release --features hub,gpu)
  . tests/data.sh
  say "embedding $1 inputs"
  CLIP_SOAK=$1 node --test tests/browser/library/soak.test.mjs
  CLIP_SOAK=$1 cargo test "${NATIVE_BUILD[@]}" --test gpu_memory -- --nocapture
}

# What V8 makes of the product for Arm and for x86 with AVX-VNNI.
count_instructions() {
  build
  need_arm_emulator || say "WITHOUT ARM: its emulator is not to be had here"
  command -v llvm-mca >/dev/null || install_debian llvm || say "WITHOUT CYCLES: llvm-mca is not to be had here"
  cargo build -q --release --features cli --example extreme_models
  node benches/instructions.mjs
}

serve() { # PORT
  need_python
  build_first
  say "serving http://localhost:$1/"
  python3 -m http.server "$1" --bind 127.0.0.1 --directory www &
  local server=$!
  trap 'kill $server 2>/dev/null' EXIT
  sleep 1
  kill -0 $server 2>/dev/null || fail "nothing can be served at port $1: give another, as in ./build.sh serve 8001"
  build_faster
  say "everything is built: reload the page for relaxed SIMD and threads"
  wait $server
}

# The page's own model: drawn, trained and converted from a seed.
demo() {
  need_rust
  need_python
  local program=examples/demo_model
  say "installing torch and transformers into target/venv"
  [ -e target/venv/bin/python ] || python3 -m venv target/venv
  target/venv/bin/pip install -q -r $program/requirements.txt
  say "drawing and training"
  target/venv/bin/python $program/train.py $program/shapes-and-colours
  say "converting"
  mkdir -p www/models
  cargo run -q --release --features cli --bin clip-wasm -- convert $program/shapes-and-colours --type q8_0 -o www/models/demo.gguf
  target/venv/bin/python $program/samples.py www/samples
}

case "${1:-build}" in
  build) build ;;
  serve) serve "${2:-8000}" ;;
  package) build; package ;;
  single) build; single ;;
  test)
    case "${2:-}" in
      "") . tests/run.sh ;;
      quick) . tests/quick.sh ;;
      *) usage >&2; exit 2 ;;
    esac
    ;;
  fuzz)
    if [ $# -eq 1 ]; then
      fuzz 600 "${FUZZ_TARGETS[@]}"
    elif [[ $2 == [0-9]* ]]; then
      fuzz "$2" "${FUZZ_TARGETS[@]}"
    else
      fuzz "${3:-600}" "$2"
    fi
    ;;
  soak) soak "${2:-20000}" ;;
  reliability) need_node_packages; node tests/reliability/render.mjs docs/reliability.md ;;
  bench)
    case "${2:-}" in
      "") . benches/run.sh ;;
      kernels) count_instructions ;;
      *) usage >&2; exit 2 ;;
    esac
    ;;
  verify)
    [ $# -eq 2 ] || { usage >&2; exit 2; }
    need_rust
    cargo run -q --release --features cli --example verify -- "$2" $PHOTOS "$CLIP_TEST_DATA/photos"
    ;;
  screenshots)
    need_node_packages
    need_browser
    need_python
    . tests/data.sh
    node tests/browser/screenshots.mjs docs/images
    ;;
  icons)
    need_node_packages
    need_browser
    node icons/draw.mjs
    ;;
  demo) demo ;;
  -h | --help | help) usage ;;
  *) usage >&2; exit 2 ;;
esac
