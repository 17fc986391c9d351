/// Paths of routes and of further ingest sockets with their channels; both may have named places such as `{id}`.

import Wire

/// Why a path and a channel make no template.
struct TemplateFault: Error, Equatable {
    /// Whether the fault is in the channel; else it is in the path.
    var isOfChannel = false
    var message: String

    static func path(_ message: String) -> TemplateFault { TemplateFault(message: message) }
    static func channel(_ message: String) -> TemplateFault { TemplateFault(isOfChannel: true, message: message) }
}

/// A part between two slashes.
enum TemplateSegment: Equatable {
    /// These bytes.
    case text([UInt8])
    /// Any segment of a channel's name, and which of the path's places it is, from 0.
    case place(Int)

    /// The name in `{name}`; nil where a segment is none.
    fileprivate static func placeName(_ segment: Substring.UTF8View) -> Substring? {
        guard segment.count > 2, segment.first == UInt8(ascii: "{"), segment.last == UInt8(ascii: "}") else {
            return nil
        }
        let name = segment.dropFirst().dropLast()
        let isName = name.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        return isName ? Substring(name) : nil
    }

    fileprivate static func hasBraces(_ text: Substring.UTF8View) -> Bool {
        text.contains { $0 == UInt8(ascii: "{") || $0 == UInt8(ascii: "}") }
    }

    /// The segments of a channel's template, whose places are those of its path: each once, and all of them.
    fileprivate static func channel(
        _ text: String, places: [Substring]
    ) throws(TemplateFault) -> [TemplateSegment] {
        var segments: [TemplateSegment] = []
        var isUsed = [Bool](repeating: false, count: places.count)
        var sample: [Substring] = []
        for segment in text.split(separator: "/", omittingEmptySubsequences: false) {
            if let name = placeName(segment.utf8) {
                guard let place = places.firstIndex(where: { $0.utf8.elementsEqual(name.utf8) }) else {
                    throw .channel("'\(text)' has {\(name)}, and its path has not")
                }
                guard !isUsed[place] else { throw .channel("'\(text)' has {\(name)} twice") }
                isUsed[place] = true
                segments.append(.place(place))
                sample.append("a")
            } else {
                segments.append(.text(Array(segment.utf8)))
                sample.append(segment)
            }
        }
        guard ChannelName(sample.joined(separator: "/")) != nil else {
            throw .channel(
                "'\(text)' is not a channel: it has parts of letters, digits and . _ ~ - joined by /, and a part may "
                    + "be one of its path's places, such as {id}")
        }
        if let place = isUsed.firstIndex(of: false) {
            throw .channel("'\(text)' has no {\(places[place])}, and its path has one")
        }
        return segments
    }
}

/// A route: the paths that mean a channel. Each place is a whole segment.
struct RouteTemplate {
    /// The most that a configuration may have.
    static let countMax = 1024
    /// Segments of one path.
    static let segmentsMax = 32

    /// The segments behind the first slash.
    let path: [TemplateSegment]
    /// The segments of the channel.
    let channel: [TemplateSegment]

    init(path text: String, channel: String) throws(TemplateFault) {
        guard text.utf8.first == UInt8(ascii: "/") else { throw .path("'\(text)' is not a path: it begins with /") }
        guard !Self.isReserved(text) else {
            throw .path("'\(text)' is one of the server's own paths: choose one that is not under /v1/")
        }
        let segments = text.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        guard segments.count <= Self.segmentsMax else {
            throw .path("'\(text)' has more than \(Self.segmentsMax) segments")
        }
        var path: [TemplateSegment] = []
        var places: [Substring] = []
        for (index, segment) in segments.enumerated() {
            if let name = TemplateSegment.placeName(segment.utf8) {
                guard !places.contains(where: { $0.utf8.elementsEqual(name.utf8) }) else {
                    throw .path("'\(text)' has {\(name)} twice")
                }
                path.append(.place(places.count))
                places.append(name)
                continue
            }
            guard !TemplateSegment.hasBraces(segment.utf8) else {
                throw .path("'\(text)': a place is a whole segment of letters, digits and _ in braces, such as {id}")
            }
            guard !segment.isEmpty || index == segments.count - 1, segment != ".", segment != "..",
                segment.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && !Self.isOfURLs($0) })
            else {
                throw .path(
                    "'\(text)' is not a path that a request could name: write it decoded, without empty segments, "
                        + "blanks and ? # %")
            }
            path.append(.text(Array(segment.utf8)))
        }
        self.path = path
        self.channel = try TemplateSegment.channel(channel, places: places)
    }

    private static func isOfURLs(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "?") || byte == UInt8(ascii: "#") || byte == UInt8(ascii: "%")
    }

    /// Whether a path is the server's own.
    private static func isReserved(_ path: String) -> Bool {
        let own = ["/", "/page.css", "/page.js", "/fanout.js", "/healthz", "/readyz", "/metrics", "/v1"]
        return own.contains { $0.utf8.elementsEqual(path.utf8) } || path.utf8.starts(with: "/v1/".utf8)
    }

    /// How two templates stand to each other.
    enum Relation {
        /// No path is of both.
        case apart
        /// The same paths.
        case same
        /// Of some paths that are of both one cannot say which template is nearer.
        case unclear
        /// Wherever they differ, the same one has a text: it wins.
        case ordered
    }

    /// What is wrong with two paths that stand so to each other.
    static func conflict(_ path: String, _ other: String, _ relation: Relation) -> String {
        relation == .same
            ? "'\(path)' means the same paths as '\(other)'"
            : "'\(path)' and '\(other)' have paths in common, and neither is nearer to them"
    }

    /// How this template stands to another one. Linear in the segments.
    func relation(to other: RouteTemplate) -> Relation {
        guard path.count == other.path.count else { return .apart }
        var isNearer = false
        var isFarther = false
        for (mine, others) in zip(path, other.path) {
            switch (mine, others) {
            case (.text(let one), .text(let two)): if one != two { return .apart }
            case (.text(let text), .place):
                if text.isEmpty { return .apart }
                isNearer = true
            case (.place, .text(let text)):
                if text.isEmpty { return .apart }
                isFarther = true
            case (.place, .place): break
            }
        }
        return isNearer && isFarther ? .unclear : isNearer || isFarther ? .ordered : .same
    }
}

/// A further ingest socket, or a family of them: where it is and whose.
struct IngestTemplate {
    /// The most that a configuration may have.
    static let countMax = 1024
    /// The longest path of a socket: `sun_path` holds 108 bytes with its terminator.
    static let pathBytesMax = 107

    /// The path up to the place, and behind it; the second is nil where there is no place.
    let path: (head: String, tail: String?)
    /// The segments of the channel.
    let channel: [TemplateSegment]

    init(path text: String, channel: String) throws(TemplateFault) {
        guard !text.utf8.contains(0), !text.isEmpty, text.utf8.last != UInt8(ascii: "/") else {
            throw .path("'\(text)' is not the path of a socket")
        }
        for segment in text.split(separator: "/", omittingEmptySubsequences: false).dropFirst(text.first == "/" ? 1 : 0)
        where segment.isEmpty || segment == "." || segment == ".." {
            throw .path("'\(text)' is not the path of a socket: it has no empty segments, no . and no ..")
        }
        var places: [Substring] = []
        if let start = text.utf8.firstIndex(of: UInt8(ascii: "{")) {
            guard let end = text.utf8[start...].firstIndex(of: UInt8(ascii: "}")),
                let name = TemplateSegment.placeName(text[start...end].utf8),
                !TemplateSegment.hasBraces(text[text.utf8.index(after: end)...].utf8)
            else { throw .path("'\(text)' may have one place of letters, digits and _ in braces, such as {id}") }
            places = [name]
            path = (String(text[..<start]), String(text[text.utf8.index(after: end)...]))
        } else {
            guard !TemplateSegment.hasBraces(text[...].utf8) else {
                throw .path("'\(text)' may have one place of letters, digits and _ in braces, such as {id}")
            }
            path = (text, nil)
        }
        guard path.head.utf8.count + (path.tail.map { $0.utf8.count + 1 } ?? 0) <= Self.pathBytesMax else {
            throw .path("'\(text)' is longer than a socket's path may be (\(Self.pathBytesMax) bytes)")
        }
        self.channel = try TemplateSegment.channel(channel, places: places)
    }

    /// Whether it is a family, whose members appear when their channels are declared.
    var isFamily: Bool { path.tail != nil }

    /// Those of a configuration. The file's reader refuses the same, with its place.
    static func all(of configuration: Configuration) throws(StartError) -> [IngestTemplate] {
        guard configuration.ingest.count <= countMax else {
            throw StartError("there may be \(countMax) further ingest sockets at most", exitCode: .configuration)
        }
        var templates: [IngestTemplate] = []
        for (path, channel) in configuration.ingest {
            do throws(TemplateFault) {
                templates.append(try IngestTemplate(path: path, channel: channel))
            } catch {
                throw StartError("an ingest socket: \(error.message)", exitCode: .configuration)
            }
        }
        return templates
    }

    /// The channel of a socket that is not of a family.
    var name: ChannelName? {
        if isFamily { return nil }
        var bytes: [UInt8] = []
        for case .text(let text) in channel { bytes += (bytes.isEmpty ? [] : [UInt8(ascii: "/")]) + text }
        return ChannelName(bytes.span)
    }

    /// Where a channel's socket is; nil where it is none of these.
    func path(of name: ChannelName) -> String? {
        let segments = name.bytes.split(separator: UInt8(ascii: "/"))
        guard segments.count == channel.count else { return nil }
        var value = ""
        for (segment, wanted) in zip(segments, channel) {
            switch wanted {
            case .text(let text): guard segment.elementsEqual(text) else { return nil }
            case .place: value = String(decoding: segment, as: UTF8.self)
            }
        }
        return path.tail.map { path.head + value + $0 } ?? path.head
    }
}
