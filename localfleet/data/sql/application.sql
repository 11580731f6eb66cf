-- What the demo's application may do on an instance, next to the table of support sessions.
GRANT USAGE ON SCHEMA public TO application;
GRANT SELECT ON tenants, users, locations TO application;
GRANT INSERT ON locations TO application;
GRANT UPDATE (password, updated_at) ON users TO application;
GRANT SELECT, INSERT, UPDATE ON rainbo_support_sessions TO application;
