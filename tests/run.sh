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
need_cargo_deny
wait $packages || { cat target/packages.log >&2; fail "packages that the tests need are not to be had: see above"; }
cat target/packages.log
need_browser
need_firefox || say "WITHOUT FIREFOX: it or its driver is not to be had here, and what runs in it is skipped"
need_webkit || say "WITHOUT WEBKIT: its driver or Xvfb is not to be had here, and what runs in it is skipped"
need_arm_emulator || say "WITHOUT ARM: its emulator is not to be had here, and what runs in it is skipped"
need_vulkan || say "WITHOUT VULKAN: its driver is not to be had here, and what runs on a GPU is skipped"

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

# The wasm tests embed their models, so even linting them needs the data.
say "test data"
DATA_FEATURES=hub,gpu
. tests/data.sh

# The facts for docs/reliability.md must come from this run only.
rm -f "$CLIP_TEST_DATA/reliability.jsonl"

say "formatting and lints"
cargo fmt --check
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

# Beside the tests of the crate, since what optimises whole modules uses one core.
say "the page's modules, behind the tests of the crate: target/build.log"
build >target/build.log 2>&1 &
building=$!

say "native tests, on a GPU"
# Mesa looks for a screen at each start of Vulkan; without this folder, it prints an error that is none.
mkdir -p target/runtime
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$PWD/target/runtime}"
native_tests() { cargo test --release --features hub,gpu "$@"; }
native_tests --no-run
# Cargo cannot leave a test out: `gpu` and `gpu_memory` are here, and what begins with other letters below.
native_tests --lib --test 'g*'
cargo fmt --check --manifest-path fuzz/Cargo.toml

say "wasm tests in Chromium, isolated"
# A module of this size takes longer to load than the runner's default timeout of 20 seconds.
export WASM_BINDGEN_TEST_TIMEOUT=300
wasm_pack_test() {
  wasm-pack test --headless --chrome --chromedriver "$CHROMEDRIVER" --release "$@"
}
wasm_pack_test --lib --test wasm --test properties
say "wasm tests in Chromium, not isolated"
WASM_BINDGEN_TEST_NO_ORIGIN_ISOLATION=1 wasm_pack_test --lib --test wasm
say "the kernels in Chromium, with relaxed SIMD"
wasm_pack_test --features relaxed-simd --lib
if [ -n "${GECKODRIVER:-}" ]; then
  say "wasm tests in Firefox"
  MOZ_HEADLESS=1 wasm-pack test --headless --firefox --geckodriver "$GECKODRIVER" --release --lib --test wasm
fi

wait $building || { cat target/build.log >&2; fail "the page's modules do not build: see above"; }
package
single
say "types of the page's JavaScript, against the module's"
npm run --silent check

# Tests in a browser wait a third of the time. At the lowest priority, other tests use it without making them slower; but
# not those on a GPU, for a GPU that takes too long counts as lost.
say "the other native tests, behind those in browsers: target/native.log"
set -m # a process group of its own, to end all of it
{
  renice -n 19 $BASHPID >/dev/null
  native_tests --bins --test '[!g]*' && native_tests --doc
} >target/native.log 2>&1 &
native=$!
set +m
trap 'kill -- -$native 2>/dev/null || true' EXIT
# Fails as soon as they have failed.
check_native() { wait $native || { cat target/native.log >&2; fail "native tests fail: see above"; }; }

# One browser at a time: two cores are too few for more, and tests would time out. A test file that takes
# twenty minutes is stuck.
node_test() {
  node --test --test-concurrency=1 --test-timeout=1200000 "$@"
  kill -0 $native 2>/dev/null || check_native
}
say "the library, the page and its hosts in Chromium"
node_test tests/browser/library/ tests/browser/page/ tests/browser/host/
say "the same list in Chromium, Firefox and WebKit"
node_test tests/browser/engines/
say "the package: its types, Node, bundlers, the examples"
node_test tests/node/

say "the native tests that ran behind"
check_native
grep "^test result" target/native.log

say "what the tests showed, for docs/reliability.md"
node tests/reliability/render.mjs "$CLIP_TEST_DATA/reliability.md"
