"""The contracts as a static site: readable from a folder, without a server, a network or JavaScript.

`measure` asks the tables how they are, `describe`, `lineage` and `sql` turn contracts into what a page shows, and `site`
makes the pages: the same contracts and measures give the same bytes. Everything in a contract is text of other teams:
templates escape all of it, and nothing in it is ever taken for HTML.
"""
