"""What subscribers reach by the links in their mails."""
