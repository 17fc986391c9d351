/// What events of a channel must look like, ready to be asked and to be told.

import TypeDefinition
import Wire

/// The schema of one pattern's channels. Made once, when the configuration is read.
final class ChannelSchema {
    let schema: Schema
    /// The schema as JSON without white space.
    let text: [UInt8]
    /// The digest of `text`: two channels with the same have the same schema.
    let digest: ContentDigest
    let mode: Configuration.SchemaMode
    /// The pattern whose channels have it, for people.
    let pattern: String

    /// - Throws: the first fault of the text, for a program that has not looked at it itself.
    init(
        _ text: [UInt8], _ rules: Configuration.ChannelRules, of pattern: ChannelPattern
    ) throws(StartError) {
        let tree: JSONTree
        do throws(EventFault) {
            tree = try JSONTree.parse(text.span)
        } catch {
            throw StartError(
                "the schema of '\(pattern)': \(error.message) (byte \(error.offset))", exitCode: .configuration)
        }
        let (schema, faults) = Self.compile(tree, rules)
        guard let schema else {
            let fault = faults.first.map { "\($0.message) (byte \($0.offset))" } ?? "it is not valid"
            throw StartError("the schema of '\(pattern)': \(fault)", exitCode: .configuration)
        }
        self.schema = schema
        self.text = Self.compacted(tree)
        digest = Self.digest(of: self.text)
        mode = rules.schemaMode
        self.pattern = pattern.description
    }

    /// A schema as JSON without white space, every string in its shortest form.
    static func compacted(_ tree: JSONTree) -> [UInt8] {
        var text: [UInt8] = []
        tree.append(to: &text)
        return text
    }

    /// The digest of a compacted schema.
    static func digest(of text: [UInt8]) -> ContentDigest {
        var digester = ContentDigester()
        digester.add(text.span)
        return digester.finish()
    }

    /// Compiles the schema of a channel: a discriminated union, of kinds that its events can have.
    /// - Returns: the schema, or everything that is wrong with it.
    static func compile(
        _ tree: JSONTree, _ rules: Configuration.ChannelRules
    ) -> (schema: Schema?, faults: [Schema.Fault]) {
        let (compiled, faults) = Schema.compile(tree)
        guard let compiled else { return (nil, faults) }
        var more: [Schema.Fault] = []
        if let name = compiled.discriminator {
            if !name.elementsEqual(rules.discriminator.utf8) {
                let text = String(decoding: name, as: UTF8.self)
                more.append(
                    Schema.Fault(
                        offset: tree["discriminator"]?.offset ?? tree.offset,
                        message: "the schema's discriminator is '\(text)' and the channel's '\(rules.discriminator)': "
                            + "they must be the same"))
            }
            for member in rules.stamp {
                guard let found = compiled.member(named: member) else { continue }
                let kind = String(decoding: found.kind, as: UTF8.self)
                more.append(
                    Schema.Fault(
                        offset: found.offset,
                        message: "'\(member)' of '\(kind)' is put in front by the server: producers may not have it, "
                            + "and the schema is that of their events"))
            }
        } else {
            more.append(
                Schema.Fault(
                    offset: tree.offset,
                    message: "a channel's schema must be a union of its kinds: 'discriminator' and 'mapping'"))
        }
        return more.isEmpty ? (compiled, []) : (nil, more.sorted { $0.offset < $1.offset })
    }
}

/// How many events did not fit, by what happened to them.
struct MisfitCounts {
    private var counts: InlineArray<3, UInt64> = InlineArray(repeating: 0)

    subscript(_ mode: Configuration.SchemaMode) -> UInt64 { counts[Self.place(mode)] }

    mutating func count(_ mode: Configuration.SchemaMode) { counts[Self.place(mode)] &+= 1 }

    private static func place(_ mode: Configuration.SchemaMode) -> Int {
        switch mode {
        case .reject: 0
        case .warn: 1
        case .pass: 2
        }
    }
}

extension Hub {
    /// Asks whether a staged event fits its channel's schema, and does what the channel's mode says if it does not.
    /// - Throws: 422 `schema` with every place, where such events are refused.
    func judge(_ schema: ChannelSchema, _ event: Span<UInt8>) throws(PublishFault) {
        let errors = schema.schema.errors(in: event)
        guard let first = errors.first else { return }
        misfits.count(schema.mode)
        switch schema.mode {
        case .reject: throw PublishFault(422, "schema", Self.complaint(first, errors.count), .schema(errors))
        case .warn: whenMisfit("\(schema.pattern): \(Self.complaint(first, errors.count))")
        case .pass: break
        }
    }

    private static func complaint(_ first: SchemaError, _ count: Int) -> String {
        let place = first.instance.isEmpty ? "the event itself" : "'\(first.instance)'"
        let others = count > 1 ? ", and \(count - 1) more" : ""
        return "the event does not fit its channel's schema: \(place) does not fit '\(first.schema)'\(others)"
    }
}
