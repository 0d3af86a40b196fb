<?php

// Stands in for `auth0/auth0-php`, which is no Debian package: takes its options and sends through its client as 9.1.0.

namespace Auth0\SDK\API;

use GuzzleHttp\Psr7\Request;

class Management
{
    public self $users;

    public function __construct(private string $token, ?string $tenantDomain, private array $options)
    {
        $this->users = $this;
    }

    public function get(string $id): array
    {
        $headers = ['Authorization' => "Bearer $this->token"] + $this->options['headers'];
        $request = new Request('GET', $this->options['baseUrl'] . '/users/' . rawurlencode($id), $headers);
        // PSR-18: an answer with any status is no exception.
        $answer = $this->options['client']->sendRequest($request);
        if ($answer->getStatusCode() !== 200) {
            throw new \RuntimeException((string) $answer->getBody());
        }
        return json_decode((string) $answer->getBody(), true);
    }
}
