# frozen_string_literal: true

# Reads a user through the daemon, and one that does not exist: ruby call_auth0.rb USER.

require_relative "management"

got = MANAGEMENT.users.get(id: ARGV[0])
begin
  MANAGEMENT.users.get(id: "auth0|1/roles")
rescue Auth0::Errors::ApiError => e
  unknown = JSON.parse(e.message)
end
puts JSON.dump(got: got["user_id"], unknown: unknown)
