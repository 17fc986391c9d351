/// Swift types that some generated text takes beside its own.

/// As text, without indentation: `SourceText` makes that.
enum SwiftHelpers {
    static let boxed = """
        /// Holds a value that may contain others of its own type.
        public indirect enum Boxed<Value: Codable & Sendable & Equatable>: Codable, Sendable, Equatable {
        case boxed(Value)

        public init(_ value: Value) {
        self = .boxed(value)
        }

        public var value: Value {
        switch self {
        case .boxed(let value): value
        }
        }

        public init(from decoder: any Decoder) throws {
        self = .boxed(try Value(from: decoder))
        }

        public func encode(to encoder: any Encoder) throws {
        try value.encode(to: encoder)
        }
        }
        """

    static let jsonValue = """
        /// Any JSON value. Numbers are as exact as Double.
        public enum JSONValue: Codable, Sendable, Equatable {
        case null
        case bool(Bool)
        case number(Double)
        case string(String)
        case array([JSONValue])
        case object([String: JSONValue])

        public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
        self = .null
        } else if let value = try? container.decode(Bool.self) {
        self = .bool(value)
        } else if let value = try? container.decode(Double.self) {
        self = .number(value)
        } else if let value = try? container.decode(String.self) {
        self = .string(value)
        } else if let value = try? container.decode([JSONValue].self) {
        self = .array(value)
        } else {
        self = .object(try container.decode([String: JSONValue].self))
        }
        }

        public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .array(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
        }
        }
        """
}
