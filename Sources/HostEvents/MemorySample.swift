/// `memory.sample` on `host/memory`: how full the memory is, and whether programs wait for it.

/// Reads `/proc/meminfo` (proc_meminfo(5)) and, where the kernel has it, `/proc/pressure/memory`.
func sampleMemory(_ proc: String, _ text: inout KernelText, into events: inout [HostEvent]) {
    guard text.load("\(proc)/meminfo") else { return }
    var total: UInt64?, available: UInt64?, free: UInt64?, cached: UInt64?, dirty: UInt64?
    var swapTotal: UInt64?, swapFree: UInt64?
    do {
        let bytes = text.bytes.span.extracting(0..<text.count)
        var cursor = TextCursor()
        repeat {
            if cursor.take("MemTotal:", bytes) {
                total = kibibytes(&cursor, bytes)
            } else if cursor.take("MemAvailable:", bytes) {
                available = kibibytes(&cursor, bytes)
            } else if cursor.take("MemFree:", bytes) {
                free = kibibytes(&cursor, bytes)
            } else if cursor.take("Cached:", bytes) {
                cached = kibibytes(&cursor, bytes)
            } else if cursor.take("Dirty:", bytes) {
                dirty = kibibytes(&cursor, bytes)
            } else if cursor.take("SwapTotal:", bytes) {
                swapTotal = kibibytes(&cursor, bytes)
            } else if cursor.take("SwapFree:", bytes) {
                swapFree = kibibytes(&cursor, bytes)
            }
        } while cursor.nextLine(bytes)
    }
    guard let total, let available = available ?? free else { return }
    let used = growth(of: total, since: available)
    var event = EventText("host/memory", "memory.sample")
    event.add("used_percent", tenths: percent(used, of: total))
    event.add("used_bytes", used)
    event.add("available_bytes", available)
    event.add("total_bytes", total)
    if let cached { event.add("cached_bytes", cached) }
    if let dirty { event.add("dirty_bytes", dirty) }
    if let swapTotal, let swapFree {
        event.add("swap_used_bytes", growth(of: swapTotal, since: swapFree))
        event.add("swap_total_bytes", swapTotal)
    }
    addPressure(proc, &text, to: &event)
    events.append(event.finished())
}

private func kibibytes(_ cursor: inout TextCursor, _ text: Span<UInt8>) -> UInt64? {
    cursor.number(text).map { min($0, 1 << 50) * 1024 }
}

/// The share of the last ten seconds in which some, or all, tasks waited for memory. Opening the file can be refused
/// where pressure is compiled in but switched off.
private func addPressure(_ proc: String, _ text: inout KernelText, to event: inout EventText) {
    guard text.load("\(proc)/pressure/memory") else { return }
    let bytes = text.bytes.span.extracting(0..<text.count)
    var cursor = TextCursor()
    repeat {
        if cursor.take("some avg10=", bytes), let share = cursor.fraction(bytes) {
            event.add("waiting_some_percent", hundredths: share)
        } else if cursor.take("full avg10=", bytes), let share = cursor.fraction(bytes) {
            event.add("waiting_full_percent", hundredths: share)
        }
    } while cursor.nextLine(bytes)
}
