/// What the configuration file says of paths: routes, and further ingest sockets.

import Wire

extension ConfigurationReader {
    mutating func read(routes tree: JSONTree) {
        var known: [(path: String, template: RouteTemplate)] = []
        for (path, offset, channel, channelOffset) in paths(tree, "routes", most: RouteTemplate.countMax) {
            do throws(TemplateFault) {
                let template = try RouteTemplate(path: path, channel: channel)
                if let other = known.first(where: { [.same, .unclear].contains($0.template.relation(to: template)) }) {
                    fault(offset, RouteTemplate.conflict(path, other.path, template.relation(to: other.template)))
                }
                known.append((path, template))
                configuration.routes.append((path, channel))
            } catch {
                fault(error.isOfChannel ? channelOffset : offset, error.message)
            }
        }
    }

    mutating func read(ingest tree: JSONTree) {
        for (path, offset, channel, channelOffset) in paths(tree, "ingest", most: IngestTemplate.countMax) {
            do throws(TemplateFault) {
                _ = try IngestTemplate(path: path, channel: channel)
                configuration.ingest.append((path, channel))
            } catch {
                fault(error.isOfChannel ? channelOffset : offset, error.message)
            }
        }
    }

    /// The members of an object of paths and channels, with their places, each path once.
    private mutating func paths(
        _ tree: JSONTree, _ subject: String, most: Int
    ) -> [(path: String, offset: Int, channel: String, channelOffset: Int)] {
        guard let members = tree.members else {
            fault(tree.offset, "'\(subject)' must be an object that has a path for each key, not \(tree.kindName)")
            return []
        }
        if members.count > most { fault(tree.offset, "'\(subject)' has more than \(most) paths") }
        var seen: Set<[UInt8]> = []
        var result: [(path: String, offset: Int, channel: String, channelOffset: Int)] = []
        for member in members.prefix(most) {
            if !seen.insert(Array(member.name.utf8)).inserted {
                fault(member.offset, "the path '\(member.name)' stands here twice")
            } else if let channel = member.value.string {
                result.append((member.name, member.offset, channel, member.value.offset))
            } else {
                fault(
                    member.value.offset,
                    "'\(subject)': '\(member.name)' needs the name of a channel, not \(member.value.kindName)")
            }
        }
        return result
    }
}
