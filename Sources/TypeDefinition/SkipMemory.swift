/// Where containers end, remembered for who goes over the same text twice.

import Wire

/// The ends of some containers that were skipped. To find the kind of an object, what stands before it is skipped; in
/// objects inside of objects that would be done once for each of them, and the work would grow with the depth.
struct SkipMemory {
    /// Containers shorter than this are skipped again faster than they are looked up.
    private static let bytesLeast = 64
    private static let placesMask = 63
    /// As deep as `JSONScanner` lets values nest.
    private static let depthMax = 130

    /// Start and end of a container, by its start; one that meets another takes its place.
    private var ends = InlineArray<64, UInt64>(repeating: 0)

    /// The offset after the value at `start`.
    mutating func end(_ text: Span<UInt8>, _ start: Int) -> Int {
        guard start < text.count else { return text.count }
        guard text[start] == UInt8(ascii: "{") || text[start] == UInt8(ascii: "[") else {
            return JSONSkip.value(text, start)?.place.end ?? text.count
        }
        var open = InlineArray<130, UInt32>(repeating: 0)
        var depth = 0
        var index = start
        repeat {
            switch text[index] {
            case UInt8(ascii: "\""):
                index = JSONSkip.value(text, index)?.place.end ?? text.count
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                if let end = known(index) {
                    index = end
                    continue
                }
                guard depth < Self.depthMax else { return text.count }
                open[depth] = UInt32(truncatingIfNeeded: index)
                depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                remember(Int(open[depth]), index + 1)
            default: break
            }
            index += 1
        } while depth > 0 && index < text.count
        return min(index, text.count)
    }

    private func known(_ start: Int) -> Int? {
        let entry = ends[Self.place(start)]
        let end = Int(truncatingIfNeeded: entry & 0xFFFF_FFFF)
        return entry >> 32 == UInt64(start) && end > start ? end : nil
    }

    private mutating func remember(_ start: Int, _ end: Int) {
        guard end - start >= Self.bytesLeast else { return }
        ends[Self.place(start)] = UInt64(start) << 32 | UInt64(end)
    }

    private static func place(_ start: Int) -> Int {
        Int(truncatingIfNeeded: UInt32(truncatingIfNeeded: start) &* 2_654_435_769 >> 26) & placesMask
    }
}
