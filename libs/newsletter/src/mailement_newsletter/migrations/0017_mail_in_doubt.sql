-- What one attempt left open is remembered through the ones that follow.

ALTER TABLE messages ADD COLUMN may_have_arrived boolean NOT NULL DEFAULT false;
