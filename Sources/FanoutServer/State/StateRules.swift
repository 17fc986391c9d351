/// How an event changes its channel's state, as the configuration says.

import Wire

/// What an event does to the state of its channel.
enum StateChange: BitwiseCopyable, Equatable {
    /// Nothing.
    case none
    /// It is what there is to know of a key now.
    case put(ContentDigest)
    /// There is nothing to know of a key any more.
    case remove(ContentDigest)
    /// It is the whole state.
    case reset(ContentDigest)

    /// The key that it is about.
    var key: ContentDigest? {
        switch self {
        case .none: nil
        case .put(let key), .remove(let key), .reset(let key): key
        }
    }

    /// The key of which there is something to know then.
    var addedKey: ContentDigest? {
        switch self {
        case .none, .remove: nil
        case .put(let key), .reset(let key): key
        }
    }
}

/// The state rules of one pattern. Made once, when the configuration is read; looking at an event allocates nothing.
///
/// A key is known by a digest of its table's name, of what kind of value it is and of the value: a string's characters,
/// however they are escaped; a number as it is written; `true`, `false` and `null`.
struct StateRules {
    private enum Action {
        case put(Int)
        case remove(Int)
        case replace(ContentDigest)
        case reset(ContentDigest)
    }

    /// Where a key is, and the digest of its table's name so far.
    private struct Key {
        var pointer: JSONPointer
        var text: String
        var table: ContentDigester
    }

    private let kinds: KindTable
    /// By the kinds' numbers.
    private let actions: [Action]
    private let names: [String]
    private let keys: [Key]
    private let discriminator: [UInt8]
    /// Whether a channel's state is always that of its newest event. If not, it is the newest `snapshot` event's.
    let isDerived: Bool

    /// What is digested in front of a key, or in place of one.
    private enum Tag: UInt8 {
        case table, string, number, word, replaced, whole
    }

    /// - Parameters:
    ///   - channel: the name of the one channel that they hold for; nil where they hold for several. A table of this
    ///     name is the one that keys without a table are in.
    /// - Throws: for a pointer that is none, and a kind that is said more than once.
    init(_ rules: Configuration.StateRules, discriminator: [UInt8], channel: String?) throws(StartError) {
        var names: [String] = []
        var actions: [Action] = []
        var keys: [Key] = []
        func key(_ kind: String, _ key: Configuration.StateKey) throws(StartError) -> Int {
            guard let pointer = JSONPointer(key.pointer), !pointer.isWhole else {
                throw StartError(
                    "the key of '\(kind)' is no pointer to a member: it begins with / (RFC 6901)",
                    exitCode: .configuration)
            }
            let table = key.table == channel ? nil : key.table
            keys.append(Key(pointer: pointer, text: key.pointer, table: Self.digester(table: table)))
            return keys.count - 1
        }
        for (kind, place) in rules.upsert.sorted(by: { $0.key < $1.key }) {
            names.append(kind)
            actions.append(.put(try key(kind, place)))
        }
        for (kind, place) in rules.remove.sorted(by: { $0.key < $1.key }) {
            names.append(kind)
            actions.append(.remove(try key(kind, place)))
        }
        for kind in rules.replace {
            names.append(kind)
            actions.append(.replace(Self.digest(.replaced, kind)))
        }
        for kind in rules.snapshot {
            names.append(kind)
            actions.append(.reset(Self.digest(.whole, kind)))
        }
        if let twice = Self.repeated(names) {
            throw StartError("the state rules name the kind '\(twice)' more than once", exitCode: .configuration)
        }
        kinds = KindTable(names)
        self.names = names
        self.actions = actions
        self.keys = keys
        self.discriminator = discriminator
        isDerived = !rules.upsert.isEmpty || !rules.remove.isEmpty || !rules.replace.isEmpty
    }

    private static func repeated(_ names: [String]) -> String? {
        var seen: Set<[UInt8]> = []
        return names.first { !seen.insert(Array($0.utf8)).inserted }
    }

    /// What a compacted event does.
    /// - Throws: 422 `state_key` where its kind has a key and the event has none.
    func change(_ record: EventRecord, _ event: Span<UInt8>) throws(PublishFault) -> StateChange {
        guard let number = kinds.find(record, event) else { return .none }
        switch actions[number] {
        case .put(let key): return .put(try digest(key, number, event))
        case .remove(let key): return .remove(try digest(key, number, event))
        case .replace(let digest): return .put(digest)
        case .reset(let digest): return .reset(digest)
        }
    }

    /// What an event did whose line is this one, as subscribers see it; nothing where it has no key.
    func change(line: Span<UInt8>) -> StateChange {
        var members = JSONMembers()
        while let member = members.next(line) {
            guard member.value.kind == .string,
                JSONText.matches(line.extracting(member.name.range), escaped: member.nameIsEscaped, discriminator.span)
            else { continue }
            let kind = EventRecord(
                length: line.count, kind: member.value.text, kindIsEscaped: member.value.isEscaped)
            return (try? change(kind, line)) ?? .none
        }
        return .none
    }

    private func digest(_ key: Int, _ kind: Int, _ event: Span<UInt8>) throws(PublishFault) -> ContentDigest {
        guard let value = keys[key].pointer.find(event) else { throw .stateKey(names[kind], keys[key].text, nil) }
        var digester = keys[key].table
        switch value.kind {
        case .string:
            digester.add(Tag.string.rawValue)
            let text = event.extracting(value.text.range)
            if value.isEscaped { Self.addUnescaped(text, to: &digester) } else { digester.add(text) }
        case .number:
            digester.add(Tag.number.rawValue)
            digester.add(event.extracting(value.place.range))
        case .true, .false, .null:
            digester.add(Tag.word.rawValue)
            digester.add(event.extracting(value.place.range))
        case .object, .array: throw .stateKey(names[kind], keys[key].text, value.kind)
        }
        return digester.finish()
    }

    @inline(never)
    private static func addUnescaped(_ text: Span<UInt8>, to digester: inout ContentDigester) {
        JSONText.forEachUnescapedByte(text) { digester.add($0) }
    }

    private static func digester(table: String?) -> ContentDigester {
        var digester = ContentDigester()
        digester.add(Tag.table.rawValue)
        let name = Array((table ?? "").utf8)
        // A table of its own may be called anything, so what follows its name must be told from it; 0 is the channel's.
        var length = table == nil ? 0 : name.count + 1
        for _ in 0..<8 {
            digester.add(UInt8(truncatingIfNeeded: length))
            length >>= 8
        }
        digester.add(name.span)
        return digester
    }

    private static func digest(_ tag: Tag, _ kind: String) -> ContentDigest {
        var digester = ContentDigester()
        digester.add(tag.rawValue)
        let name = Array(kind.utf8)
        digester.add(name.span)
        return digester.finish()
    }
}

extension PublishFault {
    /// An event lacks the key that its kind has: nothing is there, or what is there is no key.
    static func stateKey(_ kind: String, _ pointer: String, _ found: JSONKind?) -> PublishFault {
        let what =
            switch found {
            case .object: "is an object"
            case .array: "is an array"
            default: "is not there"
            }
        return PublishFault(
            422, "state_key",
            "an event of kind '\(kind)' is kept by its key \(pointer), which \(what): a key is a string, a number, "
                + "true, false or null")
    }

    /// What is published would make the state larger than it may be.
    static func stateFull(_ bytes: Int) -> PublishFault {
        PublishFault(
            507, "state_full",
            "the channels' state may take \(bytes) bytes of memory and would take more: nothing was published; allow "
                + "more with --max-memory, or remove keys")
    }
}
