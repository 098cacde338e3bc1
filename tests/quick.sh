# The tests worth running after every change: no browser, and no full-size models. Sourced by build.sh.

need_rust
need_python
need_node_packages

# Models of full size: minutes.
FULL_SIZE=(--skip towers:: --skip verify:: --skip clip_cpp::)

say "test data"
. tests/data.sh

say "formatting and lints"
cargo fmt --check
cargo clippy -q "${NATIVE_BUILD[@]}" --all-targets -- -D warnings

say "native tests"
# The examples too: some tests run them.
cargo test -q "${NATIVE_BUILD[@]}" --lib --bins --examples --test native --test faults --test limits --test memory \
  -- "${FULL_SIZE[@]}"

say "the command line with the Hub and the Web"
node --test tests/node/command-line-*.test.mjs

if [ -e www/pkg/simd128/clip_wasm.d.ts ]; then
  say "types of the page's JavaScript, against the module's"
  npm run --silent check
else
  say "SKIPPED: types of the page's JavaScript, which are held to the module's: ./build.sh makes it"
fi
