"""docs/operations.md says what the daemon says: texts that it quotes are in the sources, links lead somewhere."""

import re
import unittest

import files

TEXT = files.OPERATIONS.read_text()
# What others say: systemd, the allocator, and HTTP's status codes before our own.
NOT_OURS = {"243/CREDENTIALS", "<jemalloc>: Unsupported system page size"}


def sources():
    """All string literals as they are printed: a backslash at a line's end joins it to the next."""
    text = "\n".join(path.read_text() for path in sorted((files.ROOT / "src").rglob("*.rs")))
    return re.sub(r"\\\n\s*", "", text).replace('\\"', '"')


def symptoms():
    """What stands in the first column of the tables below Troubleshooting, as far as it is quoted."""
    part = TEXT.split("\n## Troubleshooting\n")[1].split("\n## ")[0]
    for line in part.splitlines():
        if line.startswith("| ") and not line.startswith("| you see"):
            yield from re.findall(r"`([^`]+)`", line.split(" | ")[0])


class Operations(unittest.TestCase):
    def test_what_it_quotes_is_what_the_daemon_says(self):
        said, quoted = sources(), [text for text in symptoms() if text not in NOT_OURS]
        self.assertGreater(len(quoted), 45)
        for text in quoted:
            # `error: ` is put before every error; `…` is whatever the daemon fills in.
            for piece in text.removeprefix("error: ").split("…"):
                with self.subTest(text):
                    self.assertTrue(piece.strip(" :,") in said, f"nothing says {piece.strip(' :,')!r}")

    def test_links_within_it_lead_somewhere(self):
        anchors = files.anchors(files.OPERATIONS)
        for target in re.findall(r"\]\(#([^)]+)\)", TEXT):
            self.assertIn(target, anchors)


if __name__ == "__main__":
    unittest.main()
