"""What a mail says: its Liquid within limits, MJML, styles, links, and what is wrong with it before anybody gets it."""
