import Testing

@Suite("Swift text")
struct SwiftTextTests {
    @Test(
        "comments and strings are blanked, code inside an interpolation stays",
        arguments: [
            ("let a = 1 // b", "let a = 1     "),
            ("a /* b /* c */ d */ e", "a                   e"),
            (#"f("a { b") { c }"#, #"f("     ") { c }"#),
            (#"f("a \(g(")")) b")"#, #"f("  \(g(" "))  ")"#),
            (##"f(#"a " \n \#(x) "#)"##, ##"f(#"       \#(x) "#)"##),
            ("let s = \"\"\"\n  { // }\n  \"\"\"; x", "let s = \"\"\"\n        \n  \"\"\"; x"),
            (#"f("\\") // c"#, #"f("  ")     "#),
            ("#if os(Linux)", "#if os(Linux)"),
        ])
    func blanks(source: String, expected: String) {
        #expect(SwiftText.code(of: source) == expected)
    }
}
