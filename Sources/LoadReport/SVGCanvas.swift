/// Writes SVG: shapes and text, the colours of light and dark, everything escaped.

/// An SVG text in the making. Lengths are in pixels.
struct SVGCanvas {
    /// Where a text's x is.
    enum Anchor: String {
        case start, middle, end
    }

    private let width: Double
    private let height: Double
    private let title: String
    private let description: String
    private var body = ""

    init(width: Double, height: Double, title: String, description: String) {
        self.width = width
        self.height = height
        self.title = title
        self.description = description
    }

    mutating func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String) {
        body += "<line class=\"\(style)\" x1=\"\(n(x1))\" y1=\"\(n(y1))\" x2=\"\(n(x2))\" y2=\"\(n(y2))\"/>\n"
    }

    mutating func box(_ x: Double, _ y: Double, _ width: Double, _ height: Double, _ style: String) {
        body += "<rect class=\"\(style)\" x=\"\(n(x))\" y=\"\(n(y))\" width=\"\(n(width))\" height=\"\(n(height))\"/>\n"
    }

    /// `y` is the baseline.
    mutating func text(_ x: Double, _ y: Double, _ text: String, _ style: String = "t", _ anchor: Anchor = .start) {
        let place = anchor == .start ? "" : " text-anchor=\"\(anchor.rawValue)\""
        body += "<text class=\"\(style)\" x=\"\(n(x))\" y=\"\(n(y))\"\(place)>\(Self.escaped(text))</text>\n"
    }

    mutating func path(_ points: [(x: Double, y: Double)], _ style: String) {
        guard let first = points.first else { return }
        let rest = points.dropFirst().map { "L\(n($0.x)) \(n($0.y))" }.joined()
        body += "<path class=\"\(style)\" d=\"M\(n(first.x)) \(n(first.y))\(rest)\"/>\n"
    }

    /// The whole file. It stands on its own ground, so that it is readable on any page.
    func svg() -> String {
        """
        <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(n(width)) \(n(height))" width="\(n(width))" \
        height="\(n(height))" role="img">
        <title>\(Self.escaped(title))</title>
        <desc>\(Self.escaped(description))</desc>
        <style>
        \(Palette.style)
        </style>
        <rect class="ground" width="100%" height="100%"/>
        \(body)</svg>

        """
    }

    /// About how wide `text` is at a size, in pixels: enough to leave room for it.
    static func width(_ text: String, size: Double = 12) -> Double {
        Double(text.count) * size * 0.56
    }

    /// `text` between tags or quotes. Control characters, which XML has no way to write, become U+FFFD.
    static func escaped(_ text: String) -> String {
        var output = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": output += "&amp;"
            case "<": output += "&lt;"
            case ">": output += "&gt;"
            case "\"": output += "&quot;"
            default:
                let isLegal = scalar.properties.generalCategory != .control && scalar.value & 0xFFFE != 0xFFFE
                output.unicodeScalars.append(isLegal ? scalar : "\u{FFFD}")
            }
        }
        return output
    }

    private func n(_ value: Double) -> String {
        let text = FigureText.fixed(value.isFinite ? value : 0, decimals: 1)
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }
}
