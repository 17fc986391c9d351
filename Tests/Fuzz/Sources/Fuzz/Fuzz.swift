// The program: libFuzzer around one of the targets, `fuzz --target=NAME [libFuzzer's own arguments]`.

import CLibFuzzer
import Glibc

/// What libFuzzer calls is a C function without a context, so the choice is made once, by whoever asks first.
private let chosen = Target.named(CommandLine.arguments)

@main
enum Fuzz {
    static func main() {
        heap_count_begin()
        _ = chosen
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        let status = LLVMFuzzerRunDriver(&count, &arguments) { bytes, count in
            Judge.run(chosen, Input(start: bytes, count: count))
            return 0
        }
        exit(status)
    }
}
