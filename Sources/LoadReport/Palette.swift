/// Which colour stands for whom, in light and in dark.

enum Palette {
    /// Light and dark, by class number. Floors are greys, fanout is blue; of the others, neighbours differ in lightness
    /// too, so that they can be told apart without seeing colour.
    private static let colours: [(light: String, dark: String)] = [
        ("#0b63c5", "#4c9bf5"), ("#6fb1f2", "#1f5f9e"), ("#57606a", "#a9b3bd"), ("#a8b0b8", "#646d76"),
        ("#c4510c", "#f0883e"), ("#1f8a4c", "#4cc27a"), ("#8a4fc7", "#b98af0"), ("#b8860b", "#e3b341"),
        ("#b3285f", "#f778a4"), ("#0f8b8d", "#39c5c8"),
    ]
    private static let fixed = ["fanout io_uring": 0, "fanout epoll": 1, "floor io_uring": 2, "floor epoll": 3]

    /// A class number for each label.
    static func classes(_ labels: [String]) -> [String: Int] {
        var classes: [String: Int] = [:]
        var next = 4
        for label in labels where classes[label] == nil {
            if let number = fixed[label] {
                classes[label] = number
            } else {
                classes[label] = next
                next = next + 1 < colours.count ? next + 1 : 4
            }
        }
        return classes
    }

    /// `c0`, `c1`… fill with a colour, `l0`, `l1`… draw a line in it.
    static var style: String {
        func all(_ pick: ((light: String, dark: String)) -> String) -> String {
            colours.enumerated().map { number, colour in
                ".c\(number){fill:\(pick(colour))}.l\(number){stroke:\(pick(colour))}"
            }.joined(separator: "\n")
        }
        return """
            text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;font-size:12px}
            .h{font-size:15px;font-weight:600}.b{font-weight:600}.s{font-size:11px}
            .l{fill:none;stroke-width:2;stroke-linejoin:round}.l2,.l3{stroke-dasharray:6 4}
            .ground{fill:#fff}.t,.h,.b{fill:#1f2328}.s{fill:#59636e}
            .grid{stroke:#e3e6ea}.axis{stroke:#8c959f}.reach{stroke:#1f2328;stroke-width:1.3}
            \(all { $0.light })
            @media (prefers-color-scheme:dark){
            .ground{fill:#0d1117}.t,.h,.b{fill:#e6edf3}.s{fill:#9198a1}
            .grid{stroke:#262c36}.axis{stroke:#6e7681}.reach{stroke:#e6edf3}
            \(all { $0.dark })
            }
            """
    }
}
