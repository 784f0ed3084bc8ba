import unittest

import timespan


class ParseTest(unittest.TestCase):
    def test_adds_the_parts(self):
        self.assertEqual(timespan.parse("1h30m"), 5400)

    def test_knows_days(self):
        self.assertEqual(timespan.parse("1d2h"), 93600)

    def test_refuses_what_is_no_span(self):
        with self.assertRaises(ValueError):
            timespan.parse("soon")


class ShowTest(unittest.TestCase):
    def test_leaves_empty_parts_out(self):
        self.assertEqual(timespan.show(5400), "1h30m")

    def test_shows_nothing_as_seconds(self):
        self.assertEqual(timespan.show(0), "0s")

    def test_is_the_inverse_of_parse(self):
        for text in ("1d", "2h5s", "59m59s"):
            self.assertEqual(timespan.show(timespan.parse(text)), text)


if __name__ == "__main__":
    unittest.main()
