// The paths of the hosted endpoint and of OpenAI's API, relative to the folder that serves them.

/** Regular expressions, without anchors and without the slash that may follow. */
export const ENDPOINT_PATHS = {
  files: "api/predict/file/[^/]+/[^/]+",
  texts: "api/predict/nlp/[^/]+/[^/]+",
  openAi: "v1/embeddings",
  models: "v1/models",
  model: "v1/models/[^/]+",
};

/**
 * @param {string} path of {@link ENDPOINT_PATHS}
 * @returns {RegExp} that matches a URL's path if it ends with `path`
 */
export function endsWithPath(path) {
  return new RegExp(`/${path}/?$`);
}
