/// Which patterns name a channel, found without trying each of them.

import Wire

/// A trie of patterns by their segments. An entry stands where its pattern ends, as often as it was inserted.
///
/// ```
///  a --- b            patterns a/b (1), a/* (2), a/** (3), ** (4)
///  |     `-- ends: 1
///  |-- * -- ends: 2   a look-up of a/b goes by a, then by b and by *
///  `-- rest: 3
///  rest (of the root): 4
/// ```
/// Inserting and removing cost the pattern's segments, and removing the entries that stand beside; a look-up costs the
/// nodes that agree with the name so far. Loop thread only.
struct PatternIndex {
    private struct Node {
        var children: [[UInt8]: Int] = [:]
        /// The child for `*`.
        var any: Int?
        /// Entries whose pattern ends here.
        var ends: [UInt32] = []
        /// Entries whose pattern goes on with `**` from here.
        var rest: [UInt32] = []

        var isEmpty: Bool { children.isEmpty && any == nil && ends.isEmpty && rest.isEmpty }
    }

    private var nodes = [Node()]
    private var free: [Int] = []

    /// The root, and the segments that patterns share or have for themselves.
    var nodesInUse: Int { nodes.count - free.count }
    /// The most nodes there ever were at once: their room is kept.
    var nodesMade: Int { nodes.count }

    /// The most that one entry under a pattern may add, in bytes: a node for each segment, in a table that is copied to
    /// grow, with its name, its place among its parent's children, and a list.
    static func bytesMax(_ pattern: ChannelPattern) -> Int {
        let segments = 1 + pattern.bytes.count { $0 == UInt8(ascii: "/") }
        return segments * (3 * MemoryLayout<Node>.stride + 192) + pattern.bytes.count + 64
    }

    /// Adds an entry under a pattern.
    mutating func insert(_ entry: UInt32, under pattern: ChannelPattern) {
        var node = 0
        var segments = pattern.segments
        while let segment = segments.next() {
            switch segment {
            case .rest: return nodes[node].rest.append(entry)
            case .any: node = anyChild(of: node)
            case .name(let place): node = child(of: node, Array(pattern.bytes[place]))
            }
        }
        nodes[node].ends.append(entry)
    }

    /// Takes one such entry out again, and the nodes that nothing needs any more.
    mutating func remove(_ entry: UInt32, under pattern: ChannelPattern) {
        var node = 0
        var path: [(node: Int, name: [UInt8]?)] = []
        var segments = pattern.segments
        var isRest = false
        while let segment = segments.next() {
            let next: Int?
            switch segment {
            case .rest:
                isRest = true
                continue
            case .any:
                path.append((node, nil))
                next = nodes[node].any
            case .name(let place):
                let name = Array(pattern.bytes[place])
                path.append((node, name))
                next = nodes[node].children[name]
            }
            guard let next else { preconditionFailure("a pattern was removed that was not inserted") }
            node = next
        }
        if isRest { Self.remove(entry, from: &nodes[node].rest) } else { Self.remove(entry, from: &nodes[node].ends) }
        while nodes[node].isEmpty, let parent = path.popLast() {
            if let name = parent.name { nodes[parent.node].children[name] = nil } else { nodes[parent.node].any = nil }
            free.append(node)
            node = parent.node
        }
    }

    private static func remove(_ entry: UInt32, from list: inout [UInt32]) {
        guard let place = list.lastIndex(of: entry) else {
            preconditionFailure("a pattern was removed that was not inserted")
        }
        list.swapAt(place, list.count - 1)
        list.removeLast()
    }

    /// Gives every entry whose pattern names the channel; one that stands under several such patterns comes several
    /// times.
    func forEach(naming channel: ChannelName, _ body: (UInt32) -> Void) {
        _ = first(naming: channel) { entry in
            body(entry)
            return false
        }
    }

    /// Whether any pattern names the channel.
    func contains(_ channel: ChannelName) -> Bool { first(naming: channel) { _ in true } }

    /// Tries the entries until one is the wanted one.
    private func first(naming channel: ChannelName, where isWanted: (UInt32) -> Bool) -> Bool {
        let bytes = channel.bytes
        // A stack and no recursion: a name may have 128 segments.
        var open = [(node: 0, start: 0)]
        while let (node, start) = open.popLast() {
            guard start <= bytes.count else {
                for entry in nodes[node].ends where isWanted(entry) { return true }
                continue
            }
            for entry in nodes[node].rest where isWanted(entry) { return true }
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "/")) ?? bytes.count
            if let any = nodes[node].any { open.append((any, end + 1)) }
            if !nodes[node].children.isEmpty, let child = nodes[node].children[Array(bytes[start..<end])] {
                open.append((child, end + 1))
            }
        }
        return false
    }

    private mutating func child(of node: Int, _ name: [UInt8]) -> Int {
        if let child = nodes[node].children[name] { return child }
        let child = makeNode()
        nodes[node].children[name] = child
        return child
    }

    private mutating func anyChild(of node: Int) -> Int {
        if let child = nodes[node].any { return child }
        let child = makeNode()
        nodes[node].any = child
        return child
    }

    private mutating func makeNode() -> Int {
        if let node = free.popLast() { return node }
        nodes.append(Node())
        return nodes.count - 1
    }
}
