// @bun @bun-cjs
(function (exports, require, module, __filename, __dirname) {
// What Bun reports when a source does not compile or an import is not found. Loaded when that happens.
"use strict";

// positionOf says where in the script a message of Bun's is about. Of an import that is not found Bun does not say it.
function positionOf(m, { file, source }) {
  if (m.position?.line > 0 && (m.position.file ?? file) === file) return m.position;
  if (!m.specifier) return null;
  const lines = source.split("\n");
  const line = lines.findIndex((l) => l.includes(`"${m.specifier}"`) || l.includes(`'${m.specifier}'`));
  return line < 0 ? null : { line: line + 1, column: lines[line].indexOf(m.specifier), lineText: lines[line] };
}

// failure says what a run ended with; null when e is something else. script has its file, source and path, and how a text is shown.
function failure(e, script) {
  const { display, shown } = script;
  const all = e?.errors?.length && e.errors.every((x) => x?.position !== undefined) ? e.errors : [e];
  const first = all[0];
  if (first?.constructor?.name !== "BuildMessage" && first?.constructor?.name !== "ResolveMessage") return null;
  const unresolved = first.constructor.name === "ResolveMessage";
  const lines = all.slice(0, 10).map((m) => {
    const p = positionOf(m, script);
    return p ? `${shown(m.message)}\n    at ${display}:${p.line}:${p.column}\n    ${p.lineText ?? ""}` : shown(m.message);
  });
  const p = positionOf(first, script);
  const at = p ? ` (${display}:${p.line}:${p.column})` : "";
  return {
    name: unresolved ? "ModuleNotFoundError" : "SyntaxError",
    message: shown(first.message).replace(` imported from ${display}`, "") + at,
    stack: `${unresolved ? "ModuleNotFoundError" : "SyntaxError"}: ${lines.join("\n")}`,
  };
}

module.exports = { failure };
})
