/// What an event must satisfy on its channel, beside being JSON.

/// The members that the server puts in front of an event.
package struct StampMembers: OptionSet, BitwiseCopyable, Hashable, Sendable {
    /// A bit for each member.
    package let rawValue: UInt8

    package init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// `"seq"`, the event's number.
    package static let seq = StampMembers(rawValue: 1)
    /// `"channel"`, the channel's name.
    package static let channel = StampMembers(rawValue: 2)
    /// `"time"`, when the server accepted the event.
    package static let time = StampMembers(rawValue: 4)
}

/// A channel's rules for events; the defaults are those of a channel without configuration.
package struct EventRules: Sendable {
    /// What is stamped, hence what an event may not bring itself.
    package var stamp: StampMembers
    /// The unescaped UTF-8 name of the member that names an event's kind.
    package var discriminator: [UInt8]
    /// The size limit, of the bytes as received; this many are accepted.
    package var eventBytesMax: Int
    /// How deep objects and arrays may nest; the event itself is 1. At most `JSONScanner.depthLimit`.
    package var depthMax: Int

    /// Rules; every argument left out is the default of DESIGN sections 1 and 2.
    package init(
        stamp: StampMembers = [.seq, .channel], discriminator: [UInt8] = Array("type".utf8),
        eventBytesMax: Int = 262_144, depthMax: Int = 128
    ) {
        self.stamp = stamp
        self.discriminator = discriminator
        self.eventBytesMax = eventBytesMax
        self.depthMax = depthMax
    }
}

/// What the scanner found out about an event that it accepted.
package struct EventRecord: BitwiseCopyable, Equatable, Sendable {
    /// Bytes written: the compacted event.
    package var length: Int
    /// Where the discriminator's value lies in the compacted event, without its quotes and still escaped; nil = no such
    /// member.
    package var kind: ByteRange?
    /// Whether the value has escapes, so that comparing it takes `JSONText`.
    package var kindIsEscaped: Bool
    /// Whether the event is `{}`, so that nothing follows what is stamped.
    package var isEmptyObject: Bool

    package init(length: Int, kind: ByteRange? = nil, kindIsEscaped: Bool = false, isEmptyObject: Bool = false) {
        self.length = length
        self.kind = kind
        self.kindIsEscaped = kindIsEscaped
        self.isEmptyObject = isEmptyObject
    }
}
