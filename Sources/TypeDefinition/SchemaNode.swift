/// One schema inside of a compiled one.

/// What a value has to be. Other schemas are named by their place in `Schema.nodes`.
struct SchemaNode: Sendable {
    enum Form: Sendable {
        /// Anything.
        case any
        /// What a definition says.
        case reference(Int)
        case type(SchemaType)
        /// One of these strings.
        case enumeration([[UInt8]])
        /// An array of these.
        case elements(Int)
        /// An object with these members.
        case properties(SchemaProperties)
        /// An object of any names with these values.
        case values(Int)
        /// An object whose kind is told by a member.
        case union(SchemaUnion)
    }

    var form = Form.any
    /// Whether `null` fits as well.
    var isNullable = false
    /// Where the schema stands in the text: a JSON Pointer (RFC 6901).
    var path = ""
    /// `metadata.description`.
    var description: String?
    /// Offset in the text.
    var offset = 0
}

/// The values that have a name of their own.
enum SchemaType: String, CaseIterable, Sendable {
    case boolean, float32, float64, int8, uint8, int16, uint16, int32, uint32, string, timestamp

    /// The numbers of an integer type; nil for another type.
    var range: ClosedRange<Int64>? {
        switch self {
        case .int8: -128...127
        case .uint8: 0...255
        case .int16: -32_768...32_767
        case .uint16: 0...65_535
        case .int32: -2_147_483_648...2_147_483_647
        case .uint32: 0...4_294_967_295
        case .boolean, .float32, .float64, .string, .timestamp: nil
        }
    }
}

/// The members of an object.
struct SchemaProperties: Sendable {
    struct Member: Sendable {
        /// Unescaped.
        var name: [UInt8]
        var node: Int
        var isRequired: Bool
    }

    /// The most that an object may have: which of them were seen is held in as many bits.
    static let countMax = 1024

    /// In the order of the text, those that must be there first.
    var members: [Member] = []
    var requiredCount = 0
    /// Whether other members may be there.
    var isOpen = false
    /// Whether the text has `properties`, which then is what an instance that is no object does not fit.
    var hasRequiredKeyword = false
}

/// An object whose other members depend on one of them.
struct SchemaUnion: Sendable {
    /// The name of that member, unescaped.
    var discriminator: [UInt8]
    /// Its values, unescaped, each with a schema of the properties form.
    var mapping: [(kind: [UInt8], node: Int)]
}
