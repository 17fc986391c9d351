#!/usr/bin/env bash
# The generated TypeScript seen by TypeScript's own compiler (Debian's node-typescript, installed if this may do so):
# the sample's types, and a program that uses them as a reader would; then a program that must not compile.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v tsc >/dev/null; then
    apt-get install -y --no-install-recommends node-typescript >/dev/null 2>&1 || {
        echo "typescript: skipped: there is no tsc, and node-typescript cannot be installed"
        exit 0
    }
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fanout=${FANOUT:-.build/release/fanout}
"$fanout" schema --typescript Tests/TypeDefinitionTests/Generated/sample.jtd.json >"$work/events.ts"
cmp "$work/events.ts" Tests/TypeDefinitionTests/Generated/sample.ts.txt
cat >"$work/right.ts" <<'END'
import { Event, Node, List } from "./events";
export function told(event: Event): string {
  switch (event.kind) {
    case "container.started": return event.id + (event["exit-code"] ?? "-") + (event.labels?.x ?? "") + event.ports[0];
    case "default": return "";
    case "tree": return event.root.left?.name ?? event.shape.t;
  }
}
export const tree: Node = { name: "n", left: { name: "l" } };
export const lists: List = [[], [[]]];
export const event: Event = { kind: "tree", root: tree, shape: { t: "dot", size: 1 }, lists, level: "low", maybe: null };
END
cat >"$work/wrong.ts" <<'END'
import { Event } from "./events";
export const unknown: Event = { kind: "other" };
export const missing: Event = { kind: "container.started", id: "x" };
export const mistaken: Event = { kind: "tree", root: { name: 1 }, shape: { t: "line" }, lists: [1], level: "mid", maybe: null };
END
tsc --noEmit --strict --target es2020 "$work/right.ts"
found=$(tsc --noEmit --strict --target es2020 "$work/wrong.ts" | grep -c 'error TS') || true
[ "$found" -ge 5 ] || { echo "typescript: only $found errors were found in what is wrong" && exit 1; }
echo "typescript: the sample's types are taken by $(tsc --version), and $found errors are found with them"
