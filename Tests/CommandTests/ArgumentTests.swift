/// Reading the command line, and what a typo is told.

import FanoutServer
import Testing
import fanout

@Suite("Arguments")
struct ArgumentTests {
    private func fault(_ arguments: [String]) -> CommandFault? {
        do throws(CommandFault) {
            _ = try Serve.table.read(arguments)
            return nil
        } catch {
            return error
        }
    }

    @Test("values may stand after a blank or an equals sign, and flags after arguments")
    func forms() throws {
        let given = try Emit.table.read(["{}", "--channel", "a", "--timeout=5", "--quiet-if-absent"])
        #expect(given.plain == ["{}"])
        #expect(given.flags.map(\.value) == ["a", "5", nil])
    }

    @Test("after -- everything is an argument, and - is one")
    func plainArguments() throws {
        #expect(try Emit.table.read(["--", "--channel"]).plain == ["--channel"])
        #expect(try Emit.table.read(["-"]).plain == ["-"])
    }

    @Test("an unknown flag is named, with the nearest one and the way to the help")
    func unknownFlag() {
        #expect(
            fault(["--lisen", "x"])?.message
                == "unknown flag --lisen, did you mean --listen? (see fanout serve --help)")
        #expect(fault(["--lsiten=x"])?.message.contains("--lsiten, did you mean --listen?") == true)
        #expect(fault(["--brokers", "x"])?.message == "unknown flag --brokers (see fanout serve --help)")
        #expect(fault(["-x"])?.message == "unknown flag -x (see fanout serve --help)")
        #expect(fault(["--data"])?.exitCode == 64)
    }

    @Test("an abbreviation is an unknown flag, because a later flag would change what it means")
    func abbreviations() {
        #expect(fault(["--list", "x"])?.message.hasPrefix("unknown flag --list, did you mean --listen?") == true)
        #expect(fault(["--on", "x"])?.message.hasPrefix("unknown flag --on") == true)
    }

    @Test("a missing value, an unwanted one and an argument too many are told apart")
    func values() {
        #expect(fault(["--listen"])?.message == "--listen needs a value (see fanout serve --help)")
        #expect(fault(["--stdin=1"])?.message == "--stdin takes no value (see fanout serve --help)")
        #expect(fault(["extra"])?.message == "unexpected argument 'extra' (see fanout serve --help)")
    }

    @Test("help is found anywhere on the line")
    func help() throws {
        #expect(try Serve.table.read(["--stdin", "--help"]).wantsHelp)
        #expect(try Serve.table.read(["-h", "x"]).wantsHelp)
    }

    @Test("the nearest name is found within a few edits only")
    func nearest() {
        let names = ["listen", "jsonl", "io", "text"]
        #expect(NearestName.find("lsiten", among: names) == "listen")
        #expect(NearestName.find("Listen", among: names) == "listen")
        #expect(NearestName.find("jsnl", among: names) == "jsonl")
        #expect(NearestName.find("data", among: names) == nil)
        #expect(NearestName.find("", among: names) == nil)
        #expect(NearestName.editDistance("kitten", "sitting") == 3)
        #expect(NearestName.editDistance("ab", "ba") == 1)
        #expect(NearestName.editDistance("", "abc") == 3)
    }
}
