# Runs all tests. Sourced by build.sh, which has the functions that install missing tools.

need_rust
need_python
mkdir -p target
# These wait for the network, and what is compiled meanwhile for the processor.
{
  if command -v apt-get >/dev/null && ! command -v WebKitWebDriver >/dev/null; then
    install_debian chromium chromium-driver firefox-esr webkit2gtk-driver xvfb qemu-user-static \
      libc6-arm64-cross libstdc++6-arm64-cross libatomic1-arm64-cross mesa-vulkan-drivers || true # each is asked for again below
  fi
  need_node_packages
  need_example_packages
  need_ray
} >target/packages.log 2>&1 &
packages=$!
need_wasm_bindgen
need_wasm_pack

say "formatting"
cargo fmt --check
cargo fmt --check --manifest-path fuzz/Cargo.toml

say "test data"
# All native builds take the same options: otherwise dependencies are compiled twice.
NATIVE_BUILD=(--release --features hub,gpu --config .cargo/tests.toml)
. tests/data.sh
# What tests on emulated processors run.
cargo build -q "${NATIVE_BUILD[@]}" --example extreme_models

wait $packages || { cat target/packages.log >&2; fail "packages that the tests need are not to be had: see above"; }
cat target/packages.log
need_browser
need_firefox || say "WITHOUT FIREFOX: it or its driver is not to be had here, and what runs in it is skipped"
need_webkit || say "WITHOUT WEBKIT: its driver or Xvfb is not to be had here, and what runs in it is skipped"
need_arm_emulator || say "WITHOUT ARM: its emulator is not to be had here, and what runs in it is skipped"
need_vulkan || say "WITHOUT VULKAN: its driver is not to be had here, and what runs on a GPU is skipped"

# The facts for docs/reliability.md must come from this run only.
rm -f "$CLIP_TEST_DATA/reliability.jsonl"

# What optimises whole modules uses one core.
say "the page's modules, behind the wasm tests of the crate: target/build.log"
build >target/build.log 2>&1 &
building=$!

say "wasm tests in Chromium, isolated"
# A module of this size takes longer to load than the runner's default timeout of 20 seconds.
export WASM_BINDGEN_TEST_TIMEOUT=300
wasm_pack_test() {
  wasm-pack test --headless --release "$@" --config .cargo/tests.toml
}
in_chromium=(--chrome --chromedriver "$CHROMEDRIVER")
wasm_pack_test "${in_chromium[@]}" --lib --test wasm --test properties
say "wasm tests in Chromium, not isolated"
WASM_BINDGEN_TEST_NO_ORIGIN_ISOLATION=1 wasm_pack_test "${in_chromium[@]}" --lib --test wasm
if [ -n "${GECKODRIVER:-}" ]; then
  say "wasm tests in Firefox"
  MOZ_HEADLESS=1 wasm_pack_test --firefox --geckodriver "$GECKODRIVER" --lib --test wasm
fi
# At the end, for with another feature all is compiled anew.
say "the kernels in Chromium, with relaxed SIMD"
wasm_pack_test "${in_chromium[@]}" --features relaxed-simd --lib

wait $building || { cat target/build.log >&2; fail "the page's modules do not build: see above"; }
package
single
say "types of the page's JavaScript, against the module's"
npm run --silent check

# Tests in a browser wait a third of the time. At the lowest priority, what needs no browser uses it without making them
# slower.
behind() {
  need_cargo_deny

  say "what the crates depend on: licences, bans, sources"
  deny() { # MANIFEST
    # A rule of deny.toml that only one of the two dependency graphs needs is not an error.
    local cargo_deny=(cargo deny --manifest-path "$1" --config deny.toml --locked check
      -A unused-wrapper -A unmatched-skip -A unnecessary-skip -A license-not-encountered)
    "${cargo_deny[@]}" licenses bans sources
    if [ "$advisories" = reachable ]; then "${cargo_deny[@]}" advisories; fi
  }
  if timeout 30 git ls-remote -q https://github.com/rustsec/advisory-db HEAD >/dev/null 2>&1; then
    advisories=reachable
  else
    advisories=
    say "SKIPPED: advisories, for the RustSec database is not to be had here; a workflow checks them every week"
  fi
  for manifest in Cargo.toml fuzz/Cargo.toml; do
    if [ -e "$manifest" ]; then deny "$manifest"; fi
  done

  say "lints"
  cargo clippy --release --features hub,gpu --all-targets -- -D warnings
  # Without a network, as it is installed by default.
  cargo clippy --release --features cli --bins -- -D warnings
  cargo clippy --release --target $WASM --lib --tests --example kernels -- -D warnings
  cargo clippy --release --target $WASM --no-default-features --features towers,gpu --lib -- -D warnings
  cargo clippy --release --target $WASM --features relaxed-simd --lib -- -D warnings

  say "the crate's documentation and package"
  # In the release profile, because that is how the lints have already compiled the dependencies.
  RUSTDOCFLAGS="-D warnings" cargo doc -q --release --features hub,gpu --no-deps
  RUSTDOCFLAGS="-D warnings" cargo doc -q --release --no-deps --target $WASM
  cargo publish -q --dry-run --no-verify --allow-dirty

  say "native tests"
  # Mesa looks for a screen at each start of Vulkan; without this folder, it prints an error that is none.
  mkdir -p target/runtime
  XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$PWD/target/runtime}" cargo test "${NATIVE_BUILD[@]}"
}
say "licences, lints, documentation and native tests, behind those in browsers: target/behind.log"
set -m # a process group of its own, to end all of it
{
  renice -n 19 $BASHPID >/dev/null
  behind
} >target/behind.log 2>&1 &
behind=$!
set +m
trap 'kill -- -$behind 2>/dev/null || true' EXIT
check_behind() { wait $behind || { cat target/behind.log >&2; fail "what runs behind the browsers fails: see above"; }; }

# A test file that takes twenty minutes is stuck.
node_test() { node --test --test-concurrency=1 --test-timeout=1200000 "$@"; }
# One browser at a time: two cores are too few for more, and tests would time out.
say "the library, the page and its hosts in Chromium"
node_test tests/browser/library/ tests/browser/page/ tests/browser/host/
kill -0 $behind 2>/dev/null || check_behind

say "the same list in Chromium, Firefox and WebKit, and behind it the package's tests: target/node.log"
node_test tests/node/ >target/node.log 2>&1 &
packaged=$!
node_test tests/browser/engines/
say "the package: its types, Node, bundlers, the examples"
wait $packaged || { cat target/node.log >&2; fail "tests of the package fail: see above"; }
cat target/node.log

say "licences, lints, documentation and native tests"
check_behind
cat target/behind.log

say "what the tests showed, for docs/reliability.md"
node tests/reliability/render.mjs "$CLIP_TEST_DATA/reliability.md"
