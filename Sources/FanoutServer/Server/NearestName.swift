/// The name that was probably meant: for flags, commands and the keys of the configuration file.

/// Finds near misses.
package enum NearestName {
    /// The candidate nearest to `text` by edit distance, nil where none is near enough to be a likely typo: at most one
    /// edit for every two letters, and three altogether. Among equals the first one wins.
    package static func find(_ text: String, among candidates: [String]) -> String? {
        var best: (distance: Int, name: String)?
        for name in candidates {
            let distance = editDistance(text, name)
            if let known = best, distance >= known.distance { continue }
            best = (distance, name)
        }
        guard let best, best.distance <= min(3, max(1, text.utf8.count / 2)) else { return nil }
        return best.name
    }

    /// Insertions, deletions, replacements and swaps of neighbours that lead from one text to the other (optimal string
    /// alignment). O(n·m) time; texts longer than 64 bytes are cut, so that a strange argument costs nothing.
    package static func editDistance(_ first: String, _ second: String) -> Int {
        let a = Array(first.utf8.prefix(64)), b = Array(second.utf8.prefix(64))
        var beforeLast = [Int](repeating: 0, count: b.count + 1)
        var last = Array(0...b.count)
        for i in 0..<a.count {
            var row = [i + 1]
            row.reserveCapacity(b.count + 1)
            for j in 0..<b.count {
                var cost = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforeLast[j - 1] + 1) }
                row.append(cost)
            }
            beforeLast = last
            last = row
        }
        return last[b.count]
    }
}
