<?php

/*
 * Checks one webhook, as a CGI program gets it: the body on standard input, headers and secret in the environment.
 *
 *     WEBHOOK_SECRET=whsec_… HTTP_WEBHOOK_ID=… HTTP_WEBHOOK_TIMESTAMP=… HTTP_WEBHOOK_SIGNATURE=… \
 *         php verify.php standard [folder] < body
 *
 * `body` instead of `standard` checks X-Mailement-Signature or X-Maily-Signature. With a folder, `standard` keeps
 * the ids there. Prints `first` or `again` and ends with 0; ends with 1 if the webhook is not genuine.
 */

declare(strict_types=1);

// region receive
/** $server: $_SERVER. $body: as it arrived, file_get_contents('php://input'). */
function isGenuine(string $secret, array $server, string $body): bool
{
    $sentId = $server['HTTP_WEBHOOK_ID'] ?? '';
    $sentAt = $server['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
    if ($sentId === '' || !preg_match('/^[0-9]{1,12}$/D', $sentAt) || abs(time() - (int) $sentAt) > 300) {
        return false;
    }
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret));
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$sentId.$sentAt.$body", $key, true));
    foreach (explode(' ', $server['HTTP_WEBHOOK_SIGNATURE'] ?? '') as $one) {
        if (hash_equals($expected, $one)) {
            return true;
        }
    }
    return false;
}

/** $signature: the value of X-Mailement-Signature or X-Maily-Signature. */
function isSignedBody(string $secret, string $signature, string $body): bool
{
    $key = 'whsec_' . preg_replace('/^whsec_/', '', $secret);
    return hash_equals(hash_hmac('sha256', $body, $key), preg_replace('/^sha256=/', '', $signature));
}

/** After isGenuine(), which knows the id to be ours: it becomes the name of a file. */
function isFirst(string $folder, string $webhookId): bool
{
    $file = @fopen("$folder/$webhookId", 'x');
    if ($file !== false) {
        fclose($file);
    } elseif (!file_exists("$folder/$webhookId")) {
        throw new RuntimeException("cannot write to $folder");
    }
    return $file !== false;
}
// endregion

$secret = (string) getenv('WEBHOOK_SECRET');
$body = file_get_contents('php://stdin');
$signature = $_SERVER['HTTP_X_MAILEMENT_SIGNATURE'] ?? $_SERVER['HTTP_X_MAILY_SIGNATURE'] ?? '';
$genuine = $argv[1] === 'standard'
    ? isGenuine($secret, $_SERVER, $body)
    : isSignedBody($secret, $signature, $body);
if (!$genuine) {
    exit(1);
}
echo !isset($argv[2]) || isFirst($argv[2], $_SERVER['HTTP_WEBHOOK_ID']) ? "first\n" : "again\n";
