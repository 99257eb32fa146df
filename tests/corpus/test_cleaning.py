import json
import re

import pytest

from growth import assert_in_proportion
from postsense.corpus.cleaning import clean_comment, clean_comments
from postsense.data.anonymization import anonymize
from postsense.data.duplicates import clean_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hi @joe_b, see http://t.co/aB1", "Hi @USER, see HTTPURL"),
        ("(via @joe) [https://x.org/a?b=c]", "(via @USER) [HTTPURL]"),
        ("WWW.site.com and pic.twitter.com/abc", "HTTPURL and HTTPURL"),
        ("cut short https…", "cut short HTTPURL"),
        ("cut short http://t.co/a…", "cut short HTTPURL"),
        ("write to Jane.Doe@mail.example.org!", "write to EMAIL!"),
        ("call +44 20 7946 0958 or (212) 555-0123", "call PHONE or PHONE"),
        ("1-800-FLOWERS, 020 7946 0958, 2125550123", "PHONE, PHONE, PHONE"),
        ("thanks /u/some-body and <user>", "thanks @USER and @USER"),
        ("Tom &amp;amp; Jerry &lt;3\n\nforever", "Tom & Jerry <3 forever"),
        ("what a\u200b \x9d day", "what a day"),
        ('say \\\\"hi\\"\\nnow', 'say "hi" now'),
        ("“@joe: look http://t.co/x” wow", "“@USER: look HTTPURL” wow"),
        ("#Sandy 😂 stays", "#Sandy 😂 stays"),
    ],
)
def test_names_links_and_addresses_are_replaced(text, expected):
    assert anonymize(text) == expected
    assert anonymize(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "on 2012-10-30 at 08:02:10 there were 1,000,000 of them",
        "the years 2012 2013 2014, 3.14159, $20000000",
        "tweet 324597532548276224",
        "3 @ 5 dollars and 24/7 or A/B",
        "a hot day...",
    ],
)
def test_dates_amounts_and_other_signs_stay(text):
    assert anonymize(text) == text


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("RT @joe: so true!! http://t.co/x", "so true!!"),
        ("@a @b I agree, thanks &amp; bye", "I agree, thanks & bye"),
        ("#HurricaneSandy2012 #SMH #sandy", "Hurricane Sandy 2012 SMH sandy"),
        ("“so” it’s… \U0001f602\U0001f602 ❤️ fine", '"so" it\'s... fine'),
        ("^^so **bold** [a link](https://x.org) ~~no~~", "so bold a link no"),
        ("Noooooooo !!!!!!!", "Nooo!!!"),
        ("mail me: a@b.org", "mail me: EMAIL"),
        ("El huracán llegó ---> http://t.co/q", "El huracán llegó"),
        ("नमस्ते दुनिया", "नमस्ते दुनिया"),
        ("happy :) <3", "happy :)"),
        ('\\"quoted\\" twice\\nover', '"quoted" twice over'),
        ('he said "stop @joe', "he said stop"),
    ],
)
def test_a_comment_keeps_what_an_encoder_reads(comment, expected):
    assert clean_comment(comment) == expected


@pytest.mark.parametrize(
    "comment",
    ["", "@a @b", "http://t.co/x", "😂😂 ❤️", "!!! ...", "[deleted]", "RT @x: https://y.z"],
)
def test_a_comment_without_words_becomes_empty(comment):
    assert clean_comment(comment) == ""


def test_comments_of_a_post_keep_their_order_and_lose_repetitions_and_the_post_itself():
    comments = ["Nice view!", "😂", "RT @a: The old bridge.", "nice VIEW", "Lovely"]
    cleaned, empty, repeated = clean_comments(comments, clean_text("The old bridge"))
    assert cleaned == ["Nice view!", "Lovely"]
    assert (empty, repeated) == (1, 2)


ODD = (
    "a",
    "a.",
    "a@",
    "@",
    "[",
    "[a](",
    " ",
    "-,",
    "RT ",
    "u/",
    "http",
    "1 ",
    "&amp;",
    "ht.",
    "#A",
)


@pytest.mark.parametrize("part", ODD)
def test_no_text_however_odd_takes_long(part):
    few, many = ("x@y " + part * count + " ](/…" for count in (4_000, 64_000))
    assert_in_proportion(anonymize, few, many, times=16)
    assert_in_proportion(clean_comment, few, many, times=16)


@pytest.mark.real
def test_real_comments_are_left_without_names_links_and_signs(real_data):
    table = (real_data / "threads_semeval17" / "posts.jsonl").read_text(encoding="utf-8")
    comments = [
        said for line in table.splitlines() for said in json.loads(line).get("comments", [])
    ]
    cleaned = [clean_comment(comment) for comment in comments]
    assert len(cleaned) > 5000 and sum(not comment for comment in cleaned) < 300
    assert not [c for c in cleaned if re.search(r"@|http|www\.|#|&amp;|\s\s|…|\\", c)]
    assert [anonymize(comment) for comment in cleaned] == cleaned
