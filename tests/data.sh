# Makes the models that the tests run on in $CLIP_TEST_DATA, once. Sourced by tests/run.sh and others.

python3 tests/support/fetch.py "$CLIP_TEST_DATA"
# With other options than those of the tests, the crate and some of its dependencies would be compiled once more.
[ -n "${NATIVE_BUILD:-}" ] || NATIVE_BUILD=(--release --features hub)
cargo build -q "${NATIVE_BUILD[@]}" --bin clip-wasm --example seeded_model
convert() { target/release/clip-wasm convert "$CLIP_TEST_DATA/$1" --type "$2" "${@:4}" -o "$CLIP_TEST_DATA/$3"; }
seed() { target/release/examples/seeded_model "$1" "$2" "$CLIP_TEST_DATA/tokenizer.json" "$CLIP_TEST_DATA/$3"; }

# The recipe that the data depends on: when it changes, all seeded data is made again.
recipe=$(cat tests/data.sh tests/support/seeded.rs examples/seeded_model.rs src/convert.rs src/convert/*.rs \
  src/format/*.rs src/format/*/*.rs src/model/*.rs src/model/*/*.rs | sha256sum)
if [ "$(cat "$CLIP_TEST_DATA/recipe" 2>/dev/null)" != "$recipe" ]; then
  rm -rf "$CLIP_TEST_DATA"/{recipe,tiny*,vit-b-32*}
  for layout in hf hf-sharded hf-f16 hf-bf16 open_clip; do
    seed tiny $layout tiny-$layout
  done
  seed tiny-h hf tiny-h-hf
  seed vit-b-32 hf vit-b-32
  for config in tiny tiny-h; do
    for activation in gelu quick_gelu; do
      convert $config-hf f32 $config-$activation.f32.gguf --activation $activation
    done
  done
  convert tiny-hf q8_0 tiny-gelu.q8_0.gguf
  for type in f32 q8_0 q5_1 q5_0 q4_1 q4_0; do
    convert vit-b-32 $type vit-b-32-gelu.$type.gguf
  done
  convert vit-b-32 f32 vit-b-32-quick_gelu.f32.gguf --activation quick_gelu
  printf '%s\n' "$recipe" >"$CLIP_TEST_DATA/recipe"
fi

# Pictures for the tests of meaning, drawn with a seed that the demo model was not trained with, and the
# demo model in f32 and q8_0.
demo=examples/demo_model
recipe=$(cat tests/data.sh $demo/{draw,scenes,shapes}.py $demo/shapes-and-colours/* src/convert.rs src/convert/*.rs | sha256sum)
if [ "$(cat "$CLIP_TEST_DATA/demo/recipe" 2>/dev/null)" != "$recipe" ]; then
  rm -rf "$CLIP_TEST_DATA/demo"
  grep -E '^(numpy|pillow)=' $demo/requirements.txt |
    python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore \
      --upgrade --target "$CLIP_TEST_DATA/python" -r /dev/stdin
  PYTHONPATH="$CLIP_TEST_DATA/python" python3 $demo/draw.py 20261 "$CLIP_TEST_DATA/demo"
  for type in f32 q8_0; do
    target/release/clip-wasm convert $demo/shapes-and-colours --type $type -o "$CLIP_TEST_DATA/demo/demo.$type.gguf"
  done
  printf '%s\n' "$recipe" >"$CLIP_TEST_DATA/demo/recipe"
fi

# The vectors that the browser must reproduce.
target/release/clip-wasm embed --model "$CLIP_TEST_DATA/tiny-gelu.q8_0.gguf" \
  --text "a photo of a cat" --text "" --text "привет, 世界 😀" \
  --image www/check/rocket.jpg --image www/check/horse.png \
  >"$CLIP_TEST_DATA/tiny-gelu.q8_0.json"
