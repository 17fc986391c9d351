// Decodes each line of standard input as the generated type and prints it encoded again, with its members in order.

import Foundation

let encoder = JSONEncoder()
encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
while let line = readLine() {
    do {
        let event = try JSONDecoder().decode(Event.self, from: Data(line.utf8))
        let text = try encoder.encode(event)
        guard try JSONDecoder().decode(Event.self, from: text) == event else {
            print("not the same: \(line)")
            continue
        }
        print(String(decoding: text, as: UTF8.self))
    } catch {
        print("refused")
    }
}
