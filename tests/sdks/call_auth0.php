<?php

// Reads a user through the daemon, and one that does not exist: php call_auth0.php USER.

require 'GuzzleHttp/autoload.php';
require __DIR__ . '/auth0.php';
$management = require __DIR__ . '/management.php';

$got = $management->users->get($argv[1]);
try {
    $management->users->get('auth0|1/roles');
} catch (RuntimeException $e) {
    $unknown = json_decode($e->getMessage(), true);
}
echo json_encode(['got' => $got['user_id'], 'unknown' => $unknown]);
