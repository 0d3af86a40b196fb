# frozen_string_literal: true

# Stands in for the gem `auth0`, whose versions with this client need Ruby 3.3: connects, sends and refuses as its 6.1.0.

require "json"
require "net/http"

module Auth0
  module Errors
    class ApiError < StandardError; end
  end

  module Internal
    module Http
      class RawClient
        def initialize(base_url:, headers:)
          @base_url = base_url
          @headers = headers
        end

        def get(path)
          url = URI.parse("#{@base_url}/#{path}")
          http = connect(url)
          http.open_timeout = http.read_timeout = http.write_timeout = http.continue_timeout = 60
          request = Net::HTTPGenericRequest.new("GET", false, true, url)
          @headers.each { |name, value| request[name] = value }
          http.request(request)
        end

        def connect(url)
          http = Net::HTTP.new(url.host, url.port)
          http.use_ssl = url.scheme == "https"
          http
        end
      end
    end
  end

  class Management
    def initialize(token:, base_url:, headers:)
      all = { "Content-Type" => "application/json", "Authorization" => "Bearer #{token}" }.merge(headers)
      @client = Internal::Http::RawClient.new(base_url: base_url, headers: all)
    end

    def users = self

    def get(id:)
      answer = @client.get("users/#{URI.encode_www_form_component(id)}")
      raise Errors::ApiError, answer.body unless answer.code == "200"

      JSON.parse(answer.body)
    end
  end
end
