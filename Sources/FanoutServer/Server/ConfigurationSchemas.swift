/// What the configuration file says of a channel's schema: the schema itself, or the file that holds it.

import TypeDefinition
import Wire

extension ConfigurationReader {
    /// The text of a channel's schema, if it is right. What else the file says of the channel must have been read.
    mutating func schema(_ tree: JSONTree, for rules: Configuration.ChannelRules) -> [UInt8]? {
        guard let members = tree.members else {
            fault(
                tree.offset,
                "'schema' must be a schema in JSON Type Definition, or {\"file\": \"PATH\"}, not \(tree.kindName)")
            return nil
        }
        // No schema has such a keyword.
        if members.contains(where: { $0.name == "file" }) { return schema(inFileOf: tree, for: rules) }
        let (schema, faults) = ChannelSchema.compile(tree, rules)
        for found in faults { fault(found.offset, "schema: \(found.message)") }
        return schema == nil ? nil : ChannelSchema.compacted(tree)
    }

    private mutating func schema(
        inFileOf tree: JSONTree, for rules: Configuration.ChannelRules
    ) -> [UInt8]? {
        guard tree.members?.count == 1, let path = tree["file"]?.string, !path.isEmpty, !path.utf8.contains(0) else {
            fault(tree.offset, "'schema': a file is named by {\"file\": \"PATH\"} and nothing else")
            return nil
        }
        let file = path.hasPrefix("/") ? path : Self.folder(of: self.file) + path
        do throws(ConfigurationFault) {
            let text = try ConfigurationFile.contents(of: file)
            let (schemaTree, faults) = ConfigurationFile.schemaTree(text, named: file)
            guard let schemaTree else {
                schemaFaults += faults
                return nil
            }
            let (schema, found) = ChannelSchema.compile(schemaTree, rules)
            schemaFaults += found.map {
                ConfigurationFault(file: file, place: TextPlace(of: $0.offset, in: text.span), message: $0.message)
            }
            return schema == nil ? nil : ChannelSchema.compacted(schemaTree)
        } catch {
            fault(tree["file"]?.offset ?? tree.offset, "'\(file)' \(error.message)")
            return nil
        }
    }

    /// The folder of a file with its slash; nothing where it is named without one.
    private static func folder(of file: String) -> String {
        guard let slash = file.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "" }
        return String(file[...slash])
    }
}

extension ConfigurationFile {
    /// Reads a schema of its own file and checks it, whatever channel it is for.
    /// - Returns: the schema, its JSON without white space, or everything that is wrong in the file.
    package static func readSchema(
        _ path: String
    ) -> (schema: Schema?, text: [UInt8], faults: [ConfigurationFault]) {
        do throws(ConfigurationFault) {
            return parseSchema(try contents(of: path), named: path)
        } catch {
            return (nil, [], [error])
        }
    }

    /// The same of a text that came from elsewhere.
    package static func parseSchema(
        _ text: [UInt8], named file: String
    ) -> (schema: Schema?, text: [UInt8], faults: [ConfigurationFault]) {
        let (tree, faults) = schemaTree(text, named: file)
        guard let tree else { return (nil, [], faults) }
        let (schema, found) = Schema.compile(tree)
        return (
            schema, ChannelSchema.compacted(tree),
            found.map {
                ConfigurationFault(file: file, place: TextPlace(of: $0.offset, in: text.span), message: $0.message)
            }
        )
    }

    /// The JSON of a schema's file, or what keeps it from being JSON.
    static func schemaTree(_ text: [UInt8], named file: String) -> (tree: JSONTree?, faults: [ConfigurationFault]) {
        do throws(EventFault) {
            return (try JSONTree.parse(text.span), [])
        } catch {
            let place = TextPlace(of: error.offset, in: text.span)
            return (nil, [ConfigurationFault(file: file, place: place, message: syntaxMessage(error, in: text))])
        }
    }
}

extension Configuration {
    /// The schema of a channel as JSON text: that of the most specific pattern that it fits; nil where that has none,
    /// or where the name is none.
    package func schema(of channel: String) -> [UInt8]? {
        guard let name = ChannelName(channel) else { return nil }
        let entries = channelRules.compactMap { entry in ChannelPattern(entry.pattern).map { ($0, entry.rules) } }
        return entries.sorted { $0.0.isMoreSpecific(than: $1.0) }.first { $0.0.matches(name) }?.1.schema
    }
}
