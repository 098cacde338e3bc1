"use client";

import { useEffect, useRef, useState } from "react";

/** Embeds the pictures you choose, and shows their vectors. */
export default function Embed() {
  const clip = useRef(null);
  const [result, setResult] = useState("Loading…");

  useEffect(() => {
    const abort = new AbortController();
    const { signal } = abort;
    const load = async () => {
      // Imported in the browser only: on the server, this component is rendered without a model.
      const { ClipEncoder, errorJson } = await import("clip-wasm");
      try {
        clip.current = { errorJson, encoder: await ClipEncoder.load("demo.gguf", { signal }) };
        setResult("Choose a picture");
      } catch (error) {
        if (!signal.aborted) setResult(JSON.stringify(errorJson(error)));
      }
    };
    load();
    return () => {
      abort.abort();
      clip.current?.encoder.close();
      clip.current = null;
    };
  }, []);

  const embed = async ({ target }) => {
    const { encoder, errorJson } = clip.current;
    setResult(JSON.stringify(await encoder.embedImage([...target.files]).catch(errorJson)));
  };

  return (
    <>
      <label>
        Picture <input type="file" accept="image/*" onChange={embed} />
      </label>
      <pre id="result">{result}</pre>
    </>
  );
}
