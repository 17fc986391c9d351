/// Finds what is said of an event's kind, however the kind is written.

import Wire

/// Kinds by number: 0 is the first one that was given. Built once; looking one up allocates nothing.
struct KindTable: Sendable {
    private struct Entry: Sendable {
        var start: Int
        var count: Int
        var number: Int
    }

    /// Sorted by length, then by bytes.
    private let entries: [Entry]
    /// All kinds' bytes, unescaped.
    private let bytes: [UInt8]

    /// The kinds differ.
    init(_ kinds: [String]) {
        var bytes: [UInt8] = []
        var entries: [Entry] = []
        let sorted = kinds.map { Array($0.utf8) }.enumerated().sorted {
            $0.element.count != $1.element.count
                ? $0.element.count < $1.element.count : $0.element.lexicographicallyPrecedes($1.element)
        }
        for (number, kind) in sorted {
            entries.append(Entry(start: bytes.count, count: kind.count, number: number))
            bytes += kind
        }
        self.entries = entries
        self.bytes = bytes
    }

    /// The number of an event's kind; nil for any other, and where it has none. O(log kinds), but O(kinds) for a kind
    /// that is written with escapes.
    func find(_ record: EventRecord, _ event: Span<UInt8>) -> Int? {
        guard let kind = record.kind else { return nil }
        return find(event.extracting(kind.range), isEscaped: record.kindIsEscaped)
    }

    /// The same for the text between a kind's quotes.
    func find(_ kind: Span<UInt8>, isEscaped: Bool) -> Int? {
        let all = bytes.span
        if isEscaped {
            for entry in entries
            where JSONText.matches(kind, escaped: true, all.extracting(entry.start..<entry.start + entry.count)) {
                return entry.number
            }
            return nil
        }
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            let entry = entries[middle]
            switch Self.order(kind, all, entry) {
            case 0: return entry.number
            case ..<0: high = middle
            default: low = middle + 1
            }
        }
        return nil
    }

    /// Negative where the kind stands before the entry, positive behind it.
    private static func order(_ kind: Span<UInt8>, _ all: Span<UInt8>, _ entry: Entry) -> Int {
        if kind.count != entry.count { return kind.count - entry.count }
        for index in kind.indices where kind[index] != all[entry.start + index] {
            return Int(kind[index]) - Int(all[entry.start + index])
        }
        return 0
    }
}
