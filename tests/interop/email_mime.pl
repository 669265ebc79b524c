# Reads a letter from standard input as Perl's Email::MIME does; prints what it found, as JSON.
use strict;
use warnings;
use Email::MIME;
use Email::Address::XS qw(parse_email_addresses);
use JSON::PP;
use MIME::Base64 qw(encode_base64);

binmode STDIN;
my $raw = do { local $/; <STDIN> };
my $email = Email::MIME->new($raw);

sub people {
    my ($name) = @_;
    my $field = $email->header_str($name) // '';
    return [map { [$_->phrase // '', $_->address // ''] } grep { $_->is_valid } parse_email_addresses($field)];
}

my %found = (subject => $email->header_str('Subject') // '', from => people('From'), to => people('To'),
    message_id => $email->header_raw('Message-ID'), html => '', text => '', files => []);
$email->walk_parts(sub {
    my ($part) = @_;
    return if $part->subparts;
    my ($type) = split /\s*;/, $part->content_type;
    my $disposition = $part->header_raw('Content-Disposition') // '';
    if ($disposition eq '' && $type =~ m{^text/(html|plain)$}) {
        $found{$1 eq 'html' ? 'html' : 'text'} = $part->body_str;
        return;
    }
    my $id = $part->header_raw('Content-ID');
    $id =~ s/^<|>$//g if defined $id;
    push @{$found{files}}, {name => $part->filename, type => $type, base64 => encode_base64($part->body, ''),
        content_id => $id, is_inline => $disposition =~ /^inline/ ? JSON::PP::true : JSON::PP::false};
});
print JSON::PP->new->ascii->canonical->encode(\%found), "\n";
