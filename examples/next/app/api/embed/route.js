import { ClipEncoder, errorJson } from "clip-wasm";

/** One encoder for all requests, loaded by the first. */
let loading;

/** The endpoint's request: `{"inputs": [text, …]}`. */
export async function POST(request) {
  try {
    loading ??= ClipEncoder.load("public/demo.gguf");
    const { inputs } = await request.json();
    return Response.json(await (await loading).embedText(inputs));
  } catch (error) {
    const json = errorJson(error);
    return Response.json(json, { status: json.status_code });
  }
}
