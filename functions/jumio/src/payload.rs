//! What Jumio posts, as its document "Callback" has it and as it really comes: forms, of which some values are JSON.
//!
//! Every enum is open, and every field may be missing. What is not named here (names, numbers, dates, images, …) is in `other`, as it came.

use std::collections::BTreeMap;

use model::{Timestamp, open_enum, wire};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

/// Fields that are not named in a type, as they came.
pub type Other = BTreeMap<String, Value>;

/// The callback for Netverify: an identity document was checked, and perhaps its holder's face.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Netverify {
    /// Jumio's reference of the transaction.
    #[serde(default, deserialize_with = "wire::text")]
    pub jumio_id_scan_reference: Option<String>,
    /// The verdict about the document.
    #[serde(default)]
    pub verification_status: Option<VerificationStatus>,
    /// `SUCCESS` if the document was approved, else `ERROR`.
    #[serde(default, deserialize_with = "known_or_other")]
    pub id_scan_status: Option<IdScanStatus>,
    /// How the document came to Jumio.
    #[serde(default, deserialize_with = "if_understood")]
    pub id_scan_source: Option<IdScanSource>,
    /// Each check's result, `OK` or `N/A`.
    #[serde(default, deserialize_with = "if_understood")]
    pub id_check_data_positions: Option<CheckResult>,
    /// See [`id_check_data_positions`](Self::id_check_data_positions).
    #[serde(default, deserialize_with = "if_understood")]
    pub id_check_document_validation: Option<CheckResult>,
    /// See [`id_check_data_positions`](Self::id_check_data_positions).
    #[serde(default, deserialize_with = "if_understood")]
    pub id_check_hologram: Option<CheckResult>,
    /// See [`id_check_data_positions`](Self::id_check_data_positions).
    #[serde(default, rename = "idCheckMRZcode", deserialize_with = "if_understood")]
    pub id_check_mrz_code: Option<CheckResult>,
    /// See [`id_check_data_positions`](Self::id_check_data_positions).
    #[serde(default, deserialize_with = "if_understood")]
    pub id_check_microprint: Option<CheckResult>,
    /// See [`id_check_data_positions`](Self::id_check_data_positions).
    #[serde(default, deserialize_with = "if_understood")]
    pub id_check_security_features: Option<CheckResult>,
    /// See [`id_check_data_positions`](Self::id_check_data_positions).
    #[serde(default, deserialize_with = "if_understood")]
    pub id_check_signature: Option<CheckResult>,
    /// When the transaction was created.
    #[serde(default, deserialize_with = "wire::time")]
    pub transaction_date: Option<Timestamp>,
    /// When the callback was created: another one at each attempt.
    #[serde(default, deserialize_with = "wire::time")]
    pub callback_date: Option<Timestamp>,
    /// Whether the holder's face fits the document, if that was checked. `{}` and null mean that it was not.
    #[serde(default, deserialize_with = "content")]
    pub identity_verification: Option<IdentityVerification>,
    /// The kind of document.
    #[serde(default, deserialize_with = "if_understood")]
    pub id_type: Option<IdType>,
    /// The kind of document, more closely.
    #[serde(default, deserialize_with = "if_understood")]
    pub id_subtype: Option<IdSubtype>,
    /// The country of the document, ISO 3166-1 alpha-3 or XKX.
    #[serde(default, deserialize_with = "wire::text")]
    pub id_country: Option<String>,
    /// Why the document was refused.
    #[serde(default, deserialize_with = "content")]
    pub reject_reason: Option<RejectReason>,
    /// The holder's address.
    #[serde(default, deserialize_with = "if_understood")]
    pub id_address: Option<Address>,
    /// `M` or `F`.
    #[serde(default, deserialize_with = "if_understood")]
    pub gender: Option<Gender>,
    /// The kind of document that was chosen beforehand.
    #[serde(default, deserialize_with = "if_understood")]
    pub preset_id_type: Option<IdType>,
    /// Whether the driving license is for cars.
    #[serde(default, deserialize_with = "if_understood")]
    pub dl_car_permission: Option<CarPermission>,
    /// The driving license's categories.
    #[serde(default, deserialize_with = "one_or_many")]
    pub dl_categories: Vec<DlCategory>,
    /// Addresses of images of the holder's face.
    #[serde(default, deserialize_with = "one_or_many")]
    pub liveness_images: Vec<String>,
    /// The company's reference of the transaction.
    #[serde(default, deserialize_with = "wire::text")]
    pub merchant_id_scan_reference: Option<String>,
    /// All other fields.
    #[serde(flatten)]
    pub other: Other,
}

/// The callback for Authentication: a person who was verified before was seen again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// When the callback was created.
    #[serde(default, deserialize_with = "wire::time")]
    pub callback_date: Option<Timestamp>,
    /// Jumio's reference of the authentication.
    #[serde(default, deserialize_with = "wire::text")]
    pub transaction_reference: Option<String>,
    /// Jumio's reference of the verification before.
    #[serde(default, deserialize_with = "wire::text")]
    pub enrollment_transaction_reference: Option<String>,
    /// The verdict.
    #[serde(default)]
    pub transaction_result: Option<TransactionResult>,
    /// When the transaction was created.
    #[serde(default, deserialize_with = "wire::time")]
    pub transaction_date: Option<Timestamp>,
    /// How the person was seen.
    #[serde(default, deserialize_with = "if_understood")]
    pub scan_source: Option<ScanSource>,
    /// Addresses of images of the face.
    #[serde(default, deserialize_with = "one_or_many")]
    pub id_scan_image_face: Vec<String>,
    /// Addresses of further images of the face.
    #[serde(default, deserialize_with = "one_or_many")]
    pub liveness_images: Vec<String>,
    /// The company's reference of the user.
    #[serde(default, deserialize_with = "wire::text")]
    pub user_reference: Option<String>,
    /// Not documented for this callback. If it is there, it must not contradict the verdict.
    #[serde(default, deserialize_with = "content")]
    pub identity_verification: Option<IdentityVerification>,
    /// Not documented for this callback. If it is there, it contradicts a verdict that approves.
    #[serde(default, deserialize_with = "content")]
    pub reject_reason: Option<RejectReason>,
    /// All other fields.
    #[serde(flatten)]
    pub other: Other,
}

/// The callback for Document Verification: a document other than one of identity came in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentVerification {
    /// Jumio's reference of the transaction.
    #[serde(default, deserialize_with = "wire::text")]
    pub scan_reference: Option<String>,
    /// When the callback was created.
    #[serde(default, deserialize_with = "wire::time")]
    pub timestamp: Option<Timestamp>,
    /// The transaction.
    #[serde(default, deserialize_with = "content")]
    pub transaction: Option<Transaction>,
    /// The document, if the transaction is done.
    #[serde(default, deserialize_with = "content")]
    pub document: Option<Document>,
    /// All other fields.
    #[serde(flatten)]
    pub other: Other,
}

/// See [`DocumentVerification`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// When the transaction was created.
    #[serde(default, deserialize_with = "wire::time")]
    pub date: Option<Timestamp>,
    /// Whether the document came in.
    #[serde(default)]
    pub status: Option<TransactionStatus>,
    /// How it came in.
    #[serde(default, deserialize_with = "if_understood")]
    pub source: Option<DocumentSource>,
    /// The company's reference of the transaction.
    #[serde(default, deserialize_with = "wire::text")]
    pub merchant_scan_reference: Option<String>,
    /// All other fields.
    #[serde(flatten)]
    pub other: Other,
}

/// See [`DocumentVerification`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// What was done with it.
    #[serde(default)]
    pub status: Option<DocumentStatus>,
    /// Its country, ISO 3166-1 alpha-3 or XKX.
    #[serde(default, deserialize_with = "wire::text")]
    pub country: Option<String>,
    /// Its kind.
    #[serde(default, rename = "type", deserialize_with = "if_understood")]
    pub document_type: Option<DocumentType>,
    /// Addresses of its images.
    #[serde(default, deserialize_with = "one_or_many")]
    pub images: Vec<String>,
    /// The company's code of a document of its own kind.
    #[serde(default, deserialize_with = "wire::text")]
    pub custom_document_code: Option<String>,
    /// What was read in it.
    #[serde(default, deserialize_with = "if_understood")]
    pub extracted_data: Option<ExtractedData>,
    /// All other fields.
    #[serde(flatten)]
    pub other: Other,
}

/// What was read in a [`Document`]. Nearly all of it is personal data.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtractedData {
    /// Whether it is signed.
    #[serde(default, deserialize_with = "boolean")]
    pub signature_available: Option<bool>,
    /// The holder's address, in the raw format.
    #[serde(default, deserialize_with = "if_understood")]
    pub address: Option<Address>,
    /// Names, numbers and dates.
    #[serde(flatten)]
    pub other: Other,
}

/// Whether a face fits a document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityVerification {
    /// Whether it is the same person.
    #[serde(default)]
    pub similarity: Option<Similarity>,
    /// Whether it is a live person. Comes as a boolean, and as text in either case.
    #[serde(default, deserialize_with = "boolean")]
    pub validity: Option<bool>,
    /// Why it is not.
    #[serde(default)]
    pub reason: Option<ValidityReason>,
    /// Whether the handwritten note in the picture is the right one, where one was asked for. Comes as a boolean, and
    /// as text in either case.
    #[serde(default, deserialize_with = "known_or_other")]
    pub handwritten_note_matches: Option<String>,
    /// Who decided on the similarity.
    #[serde(default, deserialize_with = "if_understood")]
    pub similarity_decision: Option<SimilarityDecision>,
    /// All other fields.
    #[serde(flatten)]
    pub other: Other,
}

/// Why a document was refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectReason {
    /// The code, such as 100. More of them exist than the document lists.
    #[serde(default, deserialize_with = "wire::text")]
    pub reject_reason_code: Option<String>,
    /// The code in words.
    #[serde(default, deserialize_with = "if_understood")]
    pub reject_reason_description: Option<RejectReasonDescription>,
    /// More closely. One alone may come without its array.
    #[serde(default, deserialize_with = "one_or_many")]
    pub reject_reason_details: Vec<RejectReasonDetail>,
}

/// See [`RejectReason`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectReasonDetail {
    /// The code, such as 1001.
    #[serde(default, deserialize_with = "wire::text")]
    pub details_code: Option<String>,
    /// The code in words.
    #[serde(default, deserialize_with = "if_understood")]
    pub details_description: Option<RejectReasonDetailDescription>,
}

/// An address, in any of the three formats. Which one it is in says [`format`](Self::format).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// US and EU.
    #[serde(default, deserialize_with = "wire::text")]
    pub street_name: Option<String>,
    /// US and EU.
    #[serde(default, deserialize_with = "wire::text")]
    pub street_number: Option<String>,
    /// US only, with ISO 3166-2 codes.
    #[serde(default, deserialize_with = "wire::text")]
    pub state_code: Option<String>,
    /// US only.
    #[serde(default, deserialize_with = "wire::text")]
    pub zip: Option<String>,
    /// EU only.
    #[serde(default, deserialize_with = "wire::text")]
    pub province: Option<String>,
    /// EU only.
    #[serde(default, deserialize_with = "wire::text")]
    pub unit_details: Option<String>,
    /// Raw only.
    #[serde(default, deserialize_with = "wire::text")]
    pub line1: Option<String>,
    /// Raw only.
    #[serde(default, deserialize_with = "wire::text")]
    pub subdivision: Option<String>,
    /// Raw only: the whole address, separated by commas.
    #[serde(default, deserialize_with = "wire::text")]
    pub formatted_address: Option<String>,
    /// EU and raw.
    #[serde(default, deserialize_with = "wire::text")]
    pub postal_code: Option<String>,
    /// All formats.
    #[serde(default, deserialize_with = "wire::text")]
    pub city: Option<String>,
    /// All formats: ISO 3166-1 alpha-3 or XKX.
    #[serde(default, deserialize_with = "wire::text")]
    pub country: Option<String>,
    /// All other fields.
    #[serde(flatten)]
    pub other: Other,
}

/// See [`Address`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFormat {
    /// Street, state code and zip code.
    Us,
    /// Street, province and postal code.
    Eu,
    /// Lines as they are printed. The only one since August 2020.
    Raw,
}

impl Address {
    /// The format, where a field says which it is.
    #[must_use]
    pub fn format(&self) -> Option<AddressFormat> {
        let has = |name: &str| self.other.contains_key(name);
        if self.line1.is_some() || self.subdivision.is_some() || self.formatted_address.is_some() {
            Some(AddressFormat::Raw)
        } else if self.state_code.is_some() || self.zip.is_some() || has("streetSuffix") || has("unitNumber") {
            Some(AddressFormat::Us)
        } else if self.province.is_some() || self.unit_details.is_some() || self.street_name.is_some() {
            Some(AddressFormat::Eu)
        } else {
            None
        }
    }
}

/// A category of a driving license.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DlCategory {
    /// The category, in Latin or Chinese characters.
    #[serde(default, deserialize_with = "wire::text")]
    pub category: Option<String>,
    /// `YYYY-MM-DD`.
    #[serde(default, deserialize_with = "wire::text")]
    pub issue_date: Option<String>,
    /// `YYYY-MM-DD`.
    #[serde(default, deserialize_with = "wire::text")]
    pub expiry_date: Option<String>,
    /// False if it cannot be read.
    #[serde(default, deserialize_with = "boolean")]
    pub is_readable: Option<bool>,
    /// Whether the holder has it.
    #[serde(default, deserialize_with = "if_understood")]
    pub availability: Option<Availability>,
}

open_enum! {
    /// The verdict about a document.
    pub enum VerificationStatus {
        /// Genuine.
        ApprovedVerified = "APPROVED_VERIFIED",
        /// Forged, or not its holder's.
        DeniedFraud = "DENIED_FRAUD",
        /// A kind of document that is not accepted.
        DeniedUnsupportedIdType = "DENIED_UNSUPPORTED_ID_TYPE",
        /// From a country that is not accepted.
        DeniedUnsupportedIdCountry = "DENIED_UNSUPPORTED_ID_COUNTRY",
        /// Not readable.
        ErrorNotReadableId = "ERROR_NOT_READABLE_ID",
        /// Never came in.
        NoIdUploaded = "NO_ID_UPLOADED",
    }
}

open_enum! {
    /// See [`Netverify`].
    pub enum IdScanStatus {
        /// Approved.
        Success = "SUCCESS",
        /// Not approved.
        Error = "ERROR",
    }
}

open_enum! {
    /// How a document of identity came to Jumio.
    pub enum IdScanSource {
        /// Web, before a way was chosen.
        Web = "WEB",
        /// Web, with the camera.
        WebCam = "WEB_CAM",
        /// Web, as a file.
        WebUpload = "WEB_UPLOAD",
        /// Redirect, before a way was chosen.
        Redirect = "REDIRECT",
        /// Redirect, with the camera.
        RedirectCam = "REDIRECT_CAM",
        /// Redirect, as a file.
        RedirectUpload = "REDIRECT_UPLOAD",
        /// performNetverify.
        Api = "API",
        /// Mobile.
        Sdk = "SDK",
    }
}

open_enum! {
    /// What a check came to.
    pub enum CheckResult {
        /// Passed.
        Ok = "OK",
        /// Not carried out, or not passed.
        NotAvailable = "N/A",
    }
}

open_enum! {
    /// The kind of a document of identity.
    pub enum IdType {
        /// Passport.
        Passport = "PASSPORT",
        /// Driving license.
        DrivingLicense = "DRIVING_LICENSE",
        /// Identity card.
        IdCard = "ID_CARD",
        /// Visa.
        Visa = "VISA",
    }
}

open_enum! {
    /// The kind of a document of identity, more closely.
    pub enum IdSubtype {
        /// Identity card.
        NationalId = "NATIONAL_ID",
        /// Identity card.
        ConsularId = "CONSULAR_ID",
        /// Identity card.
        ElectoralId = "ELECTORAL_ID",
        /// Identity card.
        ResidentPermitId = "RESIDENT_PERMIT_ID",
        /// Identity card.
        TaxId = "TAX_ID",
        /// Identity card.
        StudentId = "STUDENT_ID",
        /// Identity card.
        PassportCardId = "PASSPORT_CARD_ID",
        /// Identity card.
        MilitaryId = "MILITARY_ID",
        /// Identity card.
        PublicSafetyId = "PUBLIC_SAFETY_ID",
        /// Identity card.
        HealthId = "HEALTH_ID",
        /// Identity card.
        OtherId = "OTHER_ID",
        /// Identity card.
        Visa = "VISA",
        /// Identity card.
        Unknown = "UNKNOWN",
        /// Driving license.
        RegularDrivingLicense = "REGULAR_DRIVING_LICENSE",
        /// Driving license.
        LearningDrivingLicense = "LEARNING_DRIVING_LICENSE",
        /// Passport with a chip.
        EPassport = "E_PASSPORT",
    }
}

open_enum! {
    /// See [`Netverify`].
    pub enum Gender {
        /// Male.
        Male = "M",
        /// Female.
        Female = "F",
    }
}

open_enum! {
    /// See [`Netverify`].
    pub enum CarPermission {
        /// For cars.
        Yes = "YES",
        /// Not for cars.
        No = "NO",
        /// Not readable.
        NotReadable = "NOT_READABLE",
    }
}

open_enum! {
    /// See [`DlCategory`].
    pub enum Availability {
        /// There.
        Yes = "yes",
        /// Not there.
        No = "no",
        /// Not readable.
        NotReadable = "not readable",
    }
}

open_enum! {
    /// See [`RejectReason`].
    pub enum RejectReasonDescription {
        /// 100
        ManipulatedDocument = "MANIPULATED_DOCUMENT",
        /// 105
        Fraudster = "FRAUDSTER",
        /// 106
        Fake = "FAKE",
        /// 107
        PhotoMismatch = "PHOTO_MISMATCH",
        /// 108
        MrzCheckFailed = "MRZ_CHECK_FAILED",
        /// 109
        PunchedDocument = "PUNCHED_DOCUMENT",
        /// 110
        ChipDataManipulated = "CHIP_DATA_MANIPULATED",
        /// 111
        MismatchPrintedBarcodeData = "MISMATCH_PRINTED_BARCODE_DATA",
        /// 102
        PhotocopyBlackWhite = "PHOTOCOPY_BLACK_WHITE",
        /// 103
        PhotocopyColor = "PHOTOCOPY_COLOR",
        /// 104
        DigitalCopy = "DIGITAL_COPY",
        /// 200
        NotReadableDocument = "NOT_READABLE_DOCUMENT",
        /// 201
        NoDocument = "NO_DOCUMENT",
        /// 202
        SampleDocument = "SAMPLE_DOCUMENT",
        /// 206
        MissingBack = "MISSING_BACK",
        /// 207
        WrongDocumentPage = "WRONG_DOCUMENT_PAGE",
        /// 209
        MissingSignature = "MISSING_SIGNATURE",
        /// 210
        CameraBlackWhite = "CAMERA_BLACK_WHITE",
        /// 211
        DifferentPersonsShown = "DIFFERENT_PERSONS_SHOWN",
        /// 300
        ManualRejection = "MANUAL_REJECTION",
    }
}

open_enum! {
    /// See [`RejectReasonDetail`].
    pub enum RejectReasonDetailDescription {
        /// 1001
        Photo = "PHOTO",
        /// 1002
        DocumentNumber = "DOCUMENT_NUMBER",
        /// 1003
        Expiry = "EXPIRY",
        /// 1004
        Dob = "DOB",
        /// 1005
        Name = "NAME",
        /// 1006
        Address = "ADDRESS",
        /// 1007
        SecurityChecks = "SECURITY_CHECKS",
        /// 1008
        Signature = "SIGNATURE",
        /// 1009
        PersonalNumber = "PERSONAL_NUMBER",
        /// 10011
        PlaceOfBirth = "PLACE_OF_BIRTH",
        /// 2001
        Blurred = "BLURRED",
        /// 2002
        BadQuality = "BAD_QUALITY",
        /// 2003
        MissingPartDocument = "MISSING_PART_DOCUMENT",
        /// 2004
        HiddenPartDocument = "HIDDEN_PART_DOCUMENT",
        /// 2005
        DamagedDocument = "DAMAGED_DOCUMENT",
        /// 2006
        Glare = "GLARE",
    }
}

open_enum! {
    /// See [`IdentityVerification`].
    pub enum Similarity {
        /// The same person.
        Match = "MATCH",
        /// Another person.
        NoMatch = "NO_MATCH",
        /// Not carried out, or the face on the document is too bad.
        NotPossible = "NOT_POSSIBLE",
    }
}

open_enum! {
    /// See [`IdentityVerification`].
    pub enum SimilarityDecision {
        /// By a human.
        Manual = "MANUAL",
        /// By a machine.
        Automated = "AUTOMATED",
    }
}

open_enum! {
    /// Why a person is not valid.
    pub enum ValidityReason {
        /// The selfie is cut from the document.
        SelfieCroppedFromId = "SELFIE_CROPPED_FROM_ID",
        /// The document is the selfie.
        EntireIdUsedAsSelfie = "ENTIRE_ID_USED_AS_SELFIE",
        /// More than one person.
        MultiplePeople = "MULTIPLE_PEOPLE",
        /// A screen, a print or a video.
        SelfieIsScreenPaperVideo = "SELFIE_IS_SCREEN_PAPER_VIDEO",
        /// Manipulated.
        SelfieManipulated = "SELFIE_MANIPULATED",
        /// Much older or younger than on the document.
        AgeDifferenceTooBig = "AGE_DIFFERENCE_TOO_BIG",
        /// No face.
        NoFacePresent = "NO_FACE_PRESENT",
        /// Part of a face.
        FaceNotFullyVisible = "FACE_NOT_FULLY_VISIBLE",
        /// Bad picture.
        BadQuality = "BAD_QUALITY",
        /// No colors.
        BlackAndWhite = "BLACK_AND_WHITE",
        /// Not live, as far as can be seen.
        LivenessFailed = "LIVENESS_FAILED",
    }
}

open_enum! {
    /// The verdict of an [`Authentication`].
    pub enum TransactionResult {
        /// The same person.
        Passed = "PASSED",
        /// Another person.
        Failed = "FAILED",
        /// Could not be carried out.
        Invalid = "INVALID",
        /// Was not carried out in time.
        Expired = "EXPIRED",
    }
}

open_enum! {
    /// See [`Authentication`].
    pub enum ScanSource {
        /// Mobile.
        Sdk = "SDK",
        /// Web.
        Web = "WEB",
    }
}

open_enum! {
    /// See [`Transaction`].
    pub enum TransactionStatus {
        /// The document came in.
        Done = "DONE",
        /// It did not.
        Failed = "FAILED",
    }
}

open_enum! {
    /// How a document came to Jumio.
    pub enum DocumentSource {
        /// Document Verification.
        DocUpload = "DOC_UPLOAD",
        /// Document Verification API.
        DocApi = "DOC_API",
        /// Document Verification Mobile.
        DocSdk = "DOC_SDK",
    }
}

open_enum! {
    /// What was done with a document.
    pub enum DocumentStatus {
        /// It came in.
        Uploaded = "UPLOADED",
        /// It was read, or masked.
        Extracted = "EXTRACTED",
        /// It is none that could be read.
        Discarded = "DISCARDED",
    }
}

open_enum! {
    /// The kind of a document.
    pub enum DocumentType {
        /// Credit card.
        CreditCard = "CC",
        /// Bank statement.
        BankStatement = "BS",
        /// Insurance card.
        InsuranceCard = "IC",
        /// Utility bill.
        UtilityBill = "UB",
        /// Cash advance application.
        CashAdvanceApplication = "CAAP",
        /// Corporate resolution certificate.
        CorporateResolutionCertificate = "CRC",
        /// Credit card statement.
        CreditCardStatement = "CCS",
        /// Lease agreement.
        LeaseAgreement = "LAG",
        /// Loan application.
        LoanApplication = "LOAP",
        /// Mortgage application.
        MortgageApplication = "MOAP",
        /// Tax return.
        TaxReturn = "TR",
        /// Vehicle title.
        VehicleTitle = "VT",
        /// Voided check.
        VoidedCheck = "VC",
        /// Student card.
        StudentCard = "STUC",
        /// Health care card.
        HealthCareCard = "HCC",
        /// Council bill.
        CouncilBill = "CB",
        /// Seniors card.
        SeniorsCard = "SENC",
        /// Medicare card.
        MedicareCard = "MEDC",
        /// Birth certificate.
        BirthCertificate = "BC",
        /// Working with children check.
        WorkingWithChildrenCheck = "WWCC",
        /// Superannuation statement.
        SuperannuationStatement = "SS",
        /// Trade association card.
        TradeAssociationCard = "TAC",
        /// School enrolment letter.
        SchoolEnrolmentLetter = "SEL",
        /// Phone bill.
        PhoneBill = "PB",
        /// Social security card.
        SocialSecurityCard = "SSC",
        /// A kind of the company's own.
        Custom = "CUSTOM",
        /// Another one.
        Unlisted = "OTHER",
    }
}

/// An object that may be missing, null or `{}`, which all mean that there is nothing. Anything else is an error: what decides must not
/// be taken for missing.
fn content<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let raw = Option::<Box<RawValue>>::deserialize(deserializer)?;
    let Some(text) = raw.as_ref().map(|raw| raw.get().trim()) else { return Ok(None) };
    // A form's value is a string, if it is no object or array.
    if matches!(text, "null" | r#""""# | r#""null""#) || text.replace(char::is_whitespace, "") == "{}" {
        return Ok(None);
    }
    serde_json::from_str(text).map(|wire::Object(value)| Some(value)).map_err(serde::de::Error::custom)
}

/// A field by which nothing is decided: one of another form than expected counts as missing, so that it keeps nobody from reading
/// the verdict.
fn if_understood<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_str(Box::<RawValue>::deserialize(deserializer)?.get()).ok())
}

/// A code against which a verdict is held: one of another form is none of the known ones, and keeps nobody from reading the verdict.
fn known_or_other<'de, D: Deserializer<'de>, T: From<String>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let code = serde_json::from_str::<Option<String>>(raw.get()).unwrap_or_else(|_| Some(raw.get().to_owned()));
    Ok(code.map(T::from))
}

/// Several of a kind: an array, or one alone without its array, or a key that is repeated, or nothing. Those of another form than
/// expected are left out.
fn one_or_many<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let items = match value {
        Value::Null => Vec::new(),
        Value::String(text) if text.is_empty() => Vec::new(),
        // A key that is repeated, of which each value may be an array.
        Value::Array(items) => items
            .into_iter()
            .flat_map(|item| match item {
                Value::Array(inner) => inner,
                other => vec![other],
            })
            .collect(),
        Value::Object(fields) if fields.is_empty() => Vec::new(),
        other => vec![other],
    };
    Ok(items.into_iter().filter_map(|item| T::deserialize(item).ok()).collect())
}

/// A boolean, or its word in either case.
fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let text = wire::text(deserializer)?;
    Ok(text.and_then(|text| text.to_ascii_lowercase().parse().ok()))
}
