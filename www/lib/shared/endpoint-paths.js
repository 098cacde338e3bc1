// The paths at which the hosted endpoint and OpenAI's API answer, relative to where they are served.

/** Regular expressions, without anchors and without the slash that may end a path. */
export const ENDPOINT_PATHS = {
  files: "api/predict/file/[^/]+/[^/]+",
  texts: "api/predict/nlp/[^/]+/[^/]+",
  openAi: "v1/embeddings",
};

/**
 * @param {string} path of {@link ENDPOINT_PATHS}
 * @returns {RegExp} that a URL's path matches which ends with it
 */
export function endsWithPath(path) {
  return new RegExp(`/${path}/?$`);
}
