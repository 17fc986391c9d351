/// Which channel a configured path means.

import Wire

/// The routes of a configuration, as a tree over the segments of paths. Made once; a look-up allocates nothing before
/// it has found one.
struct RouteTable {
    private struct Node {
        /// The segments that go on as texts, sorted.
        var texts: [(text: [UInt8], node: Int)] = []
        /// Where any segment goes on.
        var any: Int?
        /// The channel of the path that ends here.
        var channel: [TemplateSegment]?
    }

    private var nodes = [Node()]

    /// Whether there are no routes.
    var isEmpty: Bool { nodes.count == 1 }

    /// Compiles a configuration's routes. The file's reader refuses the same, with its place.
    init(_ configuration: Configuration) throws(StartError) {
        guard configuration.routes.count <= RouteTemplate.countMax else {
            throw StartError("there may be \(RouteTemplate.countMax) routes at most", exitCode: .configuration)
        }
        var known: [(path: String, template: RouteTemplate)] = []
        for (path, channel) in configuration.routes {
            let template: RouteTemplate
            do throws(TemplateFault) {
                template = try RouteTemplate(path: path, channel: channel)
            } catch {
                throw StartError("a route: \(error.message)", exitCode: .configuration)
            }
            for other in known {
                let relation = template.relation(to: other.template)
                guard relation != .same, relation != .unclear else {
                    throw StartError(
                        "routes: \(RouteTemplate.conflict(path, other.path, relation))", exitCode: .configuration)
                }
            }
            known.append((path, template))
            insert(template)
        }
        for index in nodes.indices {
            nodes[index].texts.sort { $0.text.lexicographicallyPrecedes($1.text) }
        }
    }

    private mutating func insert(_ template: RouteTemplate) {
        var node = 0
        for segment in template.path {
            let next: Int?
            switch segment {
            case .text(let text): next = nodes[node].texts.first { $0.text == text }?.node
            case .place: next = nodes[node].any
            }
            if let next {
                node = next
                continue
            }
            nodes.append(Node())
            switch segment {
            case .text(let text): nodes[node].texts.append((text, nodes.count - 1))
            case .place: nodes[node].any = nodes.count - 1
            }
            node = nodes.count - 1
        }
        nodes[node].channel = template.channel
    }

    /// The channel of a decoded path; nil where no route has it, or where what stands in a place is no part of a
    /// channel's name. Of several routes the one that has texts where others have places is taken.
    ///
    /// O(segments), and a look at each route that shares the path's beginning where routes overlap.
    func channel(of path: Span<UInt8>) -> ChannelName? {
        guard !isEmpty, path.count > 0, path[0] == UInt8(ascii: "/") else { return nil }
        var places = InlineArray<32, Range<Int>>(repeating: 0..<0)
        guard let found = find(path, from: 1, at: 0, depth: 0, &places) else { return nil }
        var name: [UInt8] = []
        for segment in found {
            if !name.isEmpty { name.append(UInt8(ascii: "/")) }
            switch segment {
            case .text(let text): name.append(contentsOf: text)
            case .place(let place):
                // A name that is too long is none: what does not fit it need not be copied.
                guard name.count + places[place].count <= ChannelName.byteCountMax else { return nil }
                for index in places[place] { name.append(path[index]) }
            }
        }
        return ChannelName(name.span)
    }

    /// Goes on from a node with the segment at `start`. A text goes before a place: where two routes have a path, that
    /// of the text is the nearer one, since others were refused.
    private func find(
        _ path: Span<UInt8>, from start: Int, at node: Int, depth: Int, _ places: inout InlineArray<32, Range<Int>>
    ) -> [TemplateSegment]? {
        guard start <= path.count else { return nodes[node].channel }
        let end = ByteSearch.firstIndex(of: UInt8(ascii: "/"), in: path, start..<path.count) ?? path.count
        if let next = text(path, start..<end, at: node),
            let found = find(path, from: end + 1, at: next, depth: depth, &places)
        {
            return found
        }
        guard let next = nodes[node].any, end > start else { return nil }
        places[depth] = start..<end
        return find(path, from: end + 1, at: next, depth: depth + 1, &places)
    }

    /// Where a segment goes on as a text. O(log segments).
    private func text(_ path: Span<UInt8>, _ segment: Range<Int>, at node: Int) -> Int? {
        var low = 0
        var high = nodes[node].texts.count
        while low < high {
            let middle = (low + high) / 2
            switch Self.order(nodes[node].texts[middle].text, path, segment) {
            case 0: return nodes[node].texts[middle].node
            case ..<0: low = middle + 1
            default: high = middle
            }
        }
        return nil
    }

    private static func order(_ text: [UInt8], _ path: Span<UInt8>, _ segment: Range<Int>) -> Int {
        for index in 0..<min(text.count, segment.count) {
            let difference = Int(text[index]) - Int(path[segment.lowerBound + index])
            if difference != 0 { return difference }
        }
        return text.count - segment.count
    }
}

extension PublishFault {
    /// 400: the path of a route says which channel is meant.
    static var routeChannel: PublishFault {
        PublishFault(400, "channel_fixed", "this path names its channel: leave channel out of the query")
    }
}

extension Engine {
    /// The channel of a route's path; nil where a path is none, or the server's own.
    func routedChannel(_ path: Span<UInt8>) -> ChannelName? {
        guard !routes.isEmpty, !path.starts(with: "/v1/"), !isStatusPath(path), constants.file(path) == nil else {
            return nil
        }
        return routes.channel(of: path)
    }

    /// `/v1/events`, or the path of a route, which has its channel.
    func answerEvents(
        _ slot: UInt32, _ request: borrowing Request, on channel: ChannelName?, _ fields: [HTTPResponse.Field]
    ) {
        switch request.head.method {
        case .get: subscribe(slot, request, on: channel, fields)
        case .post: publish(slot, request, on: channel, fields)
        default: refuseMethod(slot, request.head, allow: "GET, POST, OPTIONS", fields)
        }
    }
}
